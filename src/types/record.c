/*
 * record.c
 *	  The types meter.event and meter.measure: input, output, order, and what
 *	  can be asked of a value.
 *
 * A value is a packed record (core/record.c), or a bad record:
 *
 *	kind		one byte: 0x40 and its MeterRecordKind
 *	length		of the reason, 4 bytes, most significant first
 *	reason		then the raw text, up to the end, in the server's encoding
 *
 * A record's texts are UTF-8 also in the server: elsewhere they are converted
 * where they come in and go out.  A value says of which type it is, so most
 * functions serve both.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "core/instant.h"
#include "core/jsontext.h"
#include "core/problem.h"
#include "core/record.h"
#include "pg/copying.h"
#include "pg/meter_compat.h"
#include "pg/quantity.h"
#include "types/record.h"
#include "types/usage_messages.h"

PG_FUNCTION_INFO_V1(meter_event_in);
PG_FUNCTION_INFO_V1(meter_measure_in);
PG_FUNCTION_INFO_V1(meter_record_out);
PG_FUNCTION_INFO_V1(meter_record_eq);
PG_FUNCTION_INFO_V1(meter_record_ne);
PG_FUNCTION_INFO_V1(meter_record_lt);
PG_FUNCTION_INFO_V1(meter_record_le);
PG_FUNCTION_INFO_V1(meter_record_gt);
PG_FUNCTION_INFO_V1(meter_record_ge);
PG_FUNCTION_INFO_V1(meter_record_compare);
PG_FUNCTION_INFO_V1(meter_record_hash);
PG_FUNCTION_INFO_V1(meter_record_hash_extended);
PG_FUNCTION_INFO_V1(meter_event_from_jsonb);
PG_FUNCTION_INFO_V1(meter_measure_from_jsonb);
PG_FUNCTION_INFO_V1(meter_record_to_jsonb);
PG_FUNCTION_INFO_V1(meter_record_get);
PG_FUNCTION_INFO_V1(meter_record_time);
PG_FUNCTION_INFO_V1(meter_record_end);
PG_FUNCTION_INFO_V1(meter_record_value);
PG_FUNCTION_INFO_V1(meter_record_attributes);

#define BAD_RECORD		0x40
#define BAD_HEADER_SIZE	5

int			meter_on_bad_event = METER_BAD_EVENT_ERROR;

static const struct config_enum_entry on_bad_event_options[] = {
	{"error", METER_BAD_EVENT_ERROR, false},
	{"divert", METER_BAD_EVENT_DIVERT, false},
	{NULL, 0, false}
};

/* Define the setting meter.on_bad_event, while the library is loaded. */
void
meter_records_settings_init(void)
{
	DefineCustomEnumVariable("meter.on_bad_event",
							 "What becomes of input that is no event or measure: error, or divert.",
							 "Diverted, it becomes a bad event or measure, which only the inboxes of a stream take, and keep in its table \"rejected\".",
							 &meter_on_bad_event,
							 METER_BAD_EVENT_ERROR, on_bad_event_options,
							 PGC_USERSET, 0,
							 NULL, NULL, NULL);
}

/* --- encodings ---------------------------------------------------------- */

/* Tell whether the server takes UTF-8 as it is.  SQL_ASCII takes all bytes. */
static inline bool
server_takes_utf8(void)
{
	return GetDatabaseEncoding() == PG_UTF8 ||
		GetDatabaseEncoding() == PG_SQL_ASCII;
}

/* Tell whether the server's encoding has all the characters of a record. */
static bool
fits_server(const MeterRecord *record)
{
	size_t		length;
	char	   *text;
	char	   *converted;
	Oid			conversion;

	if (server_takes_utf8())
		return true;
	text = meter_record_to_text(record, &length);
	converted = palloc_extended(length * MAX_CONVERSION_GROWTH + 1,
								MCXT_ALLOC_HUGE);
	conversion = FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding());
	return OidIsValid(conversion) &&
		pg_do_encoding_conversion_buf(conversion, PG_UTF8,
									  GetDatabaseEncoding(),
									  (unsigned char *) text, (int) length,
									  (unsigned char *) converted,
									  (int) (length * MAX_CONVERSION_GROWTH + 1),
									  true) == (int) length;
}

/* Convert a text of the server to UTF-8. */
MeterAttr
meter_record_from_server(const char *text, size_t length)
{
	MeterAttr	converted = {text, (int32) length};

	if (!server_takes_utf8() && length > 0)
	{
		converted.data = pg_server_to_any(text, (int) length, PG_UTF8);
		if (converted.data != text)
			converted.len = (int32) strlen(converted.data);
	}
	return converted;
}

/* Convert a text of a record to the server's encoding. */
MeterAttr
meter_record_to_server(MeterAttr text)
{
	MeterAttr	converted = text;

	if (!server_takes_utf8() && text.len > 0)
	{
		converted.data = pg_any_to_server(text.data, text.len, PG_UTF8);
		if (converted.data != text.data)
			converted.len = (int32) strlen(converted.data);
	}
	return converted;
}

/* Convert a text of a record to a C string in the server's encoding. */
static char *
to_server_cstring(MeterAttr text)
{
	MeterAttr	converted = meter_record_to_server(text);

	return pnstrdup(converted.data, converted.len);
}

/* --- values ------------------------------------------------------------- */

/* Make a value of a record that has passed meter_record_check(). */
struct varlena *
meter_record_pack(const MeterRecord *record)
{
	struct varlena *value = palloc(VARHDRSZ + meter_record_bound(record));

	if (!fits_server(record))
		ereport(ERROR,
				(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
				 errmsg("%s has a character that is not in the encoding \"%s\" of this database",
						meter_record_forms[record->kind].name,
						GetDatabaseEncodingName())));
	SET_VARSIZE(value, VARHDRSZ +
				meter_record_write(record, (uint8 *) VARDATA(value)));
	return value;
}

/* Make a bad record: what was to be one, and the reason why it is none. */
struct varlena *
meter_record_bad(MeterRecordKind kind, const char *raw, size_t length,
				 const char *reason)
{
	size_t		reason_length = strlen(reason);
	size_t		size = VARHDRSZ + BAD_HEADER_SIZE + reason_length;
	struct varlena *value;
	char	   *to;
	int			i;

	if (length > MaxAllocSize - size)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("bad %s of %zu bytes is too long to be kept",
						meter_record_forms[kind].name, length)));
	value = palloc(size + length);
	SET_VARSIZE(value, size + length);
	to = VARDATA(value);
	*to++ = (char) (BAD_RECORD | kind);
	for (i = 24; i >= 0; i -= 8)
		*to++ = (char) (reason_length >> i);
	memcpy(to, reason, reason_length);
	memcpy(to + reason_length, raw, length);
	return value;
}

/*
 * Tell whether a value is a bad record.  Then its text and reason point into
 * it.
 */
bool
meter_record_is_bad(const struct varlena *value,
					MeterAttr *raw, MeterAttr *reason)
{
	const uint8 *bytes = (const uint8 *) VARDATA_ANY(value);
	size_t		length = VARSIZE_ANY_EXHDR(value);
	uint32		reason_length;

	if (length < BAD_HEADER_SIZE || bytes[0] < BAD_RECORD ||
		bytes[0] >= BAD_RECORD + METER_RECORD_KINDS)
		return false;
	reason_length = (uint32) bytes[1] << 24 | (uint32) bytes[2] << 16 |
		(uint32) bytes[3] << 8 | bytes[4];
	if (reason_length > length - BAD_HEADER_SIZE)
		return false;
	if (reason != NULL)
	{
		reason->data = (const char *) bytes + BAD_HEADER_SIZE;
		reason->len = (int32) reason_length;
	}
	if (raw != NULL)
	{
		raw->data = (const char *) bytes + BAD_HEADER_SIZE + reason_length;
		raw->len = (int32) (length - BAD_HEADER_SIZE - reason_length);
	}
	return true;
}

/* Raise that a value is no record, because it is a bad one or damaged. */
static void
refuse_value(const struct varlena *value)
{
	MeterAttr	reason;

	if (meter_record_is_bad(value, NULL, &reason))
	{
		const char *name = meter_record_forms[*VARDATA_ANY(value) - BAD_RECORD].name;

		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("the value is a bad %s", name),
				 reason.len == 0 ? errdetail("It is a blank line.") :
				 errdetail("%s", pnstrdup(reason.data, reason.len)),
				 errhint("Bad %ss, which meter.on_bad_event = 'divert' makes, can only be shown, and inserted into the inbox of a stream.",
						 name)));
	}
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("value of type %s is damaged",
					"meter.event or meter.measure")));
}

/* Read a value, detoasted before; the texts of the record point into it. */
void
meter_record_unpack(const struct varlena *value, MeterRecord *record)
{
	if (unlikely(!meter_record_read((const uint8 *) VARDATA_ANY(value),
									VARSIZE_ANY_EXHDR(value), record)))
		refuse_value(value);
}

/* Read the record in argument n. */
static void
get_record(FunctionCallInfo fcinfo, int n, MeterRecord *record)
{
	meter_record_unpack(PG_GETARG_VARLENA_PP(n), record);
}

/* Make a text value of a text of a record. */
Datum
meter_record_text(MeterAttr text)
{
	MeterAttr	converted = meter_record_to_server(text);

	return PointerGetDatum(cstring_to_text_with_len(converted.data,
													converted.len));
}

/* Make a jsonb of a canonical JSON text. */
Datum
meter_record_jsonb(MeterAttr json)
{
	return DirectFunctionCall1(jsonb_in,
							   CStringGetDatum(to_server_cstring(json)));
}

/* --- text --------------------------------------------------------------- */

/*
 * Refuse bytes that are no record: with an error, or as a bad record, as
 * meter.on_bad_event says.
 */
Datum
meter_record_refuse(FunctionCallInfo fcinfo, MeterRecordKind kind, int code,
					const char *raw, size_t length, const char *reason)
{
	if (meter_on_bad_event == METER_BAD_EVENT_DIVERT)
		return PointerGetDatum(meter_record_bad(kind, raw, length, reason));
	meter_ereturn(fcinfo->context, (Datum) 0,
				  (errcode(code),
				   errmsg("invalid input for type meter.%s",
						  meter_record_forms[kind].name),
				   errdetail("%s", reason)));
}

/*
 * Describe why a text is no record, for people: positions are characters from
 * 1.
 */
static char *
describe_problem(const char *text, const MeterProblem *problem)
{
	MeterAttr	reason = {problem->reason, (int32) strlen(problem->reason)};
	int			character = 1;
	size_t		i;

	for (i = 0; i < problem->position; i++)
		character += ((uint8) text[i] & 0xc0) != 0x80;
	return psprintf("At character %d: %s.", character,
					to_server_cstring(reason));
}

/* Read a text in UTF-8 as a record. */
static bool
read_text(MeterRecordKind kind, MeterAttr text, MeterRecord *record,
		  MeterProblem *problem)
{
	MeterTextOptions options = {kind, meter_protobuf_payload};

	return meter_record_from_text(&options, text.data, text.len, record,
								  problem);
}

/* Return what the input function of a type returns for a text. */
Datum
meter_record_input(FunctionCallInfo fcinfo, MeterRecordKind kind,
				   const char *raw, size_t length)
{
	MeterAttr	text = meter_record_from_server(raw, length);
	MeterRecord record;
	MeterProblem problem;

	if (!read_text(kind, text, &record, &problem))
		return meter_record_refuse(fcinfo, kind,
								   ERRCODE_INVALID_TEXT_REPRESENTATION,
								   raw, length,
								   describe_problem(text.data, &problem));
	if (!fits_server(&record))
		return meter_record_refuse(fcinfo, kind,
								   ERRCODE_UNTRANSLATABLE_CHARACTER,
								   raw, length,
								   psprintf("It has a character that is not in the encoding \"%s\" of this database.",
											GetDatabaseEncodingName()));
	return PointerGetDatum(meter_record_pack(&record));
}

/* Make a record of the text in argument 0: JSON, EDN or a CloudEvent. */
static Datum
text_input(FunctionCallInfo fcinfo, MeterRecordKind kind)
{
	const char *raw = PG_GETARG_CSTRING(0);
	size_t		length = strlen(raw);

	/* files have blank lines, which say nothing */
	if (unlikely(strspn(raw, " \t\r\n") == length) && meter_copying_into_view())
		return PointerGetDatum(meter_record_bad(kind, raw, length, ""));
	return meter_record_input(fcinfo, kind, raw, length);
}

/* Make an event of a text. */
Datum
meter_event_in(PG_FUNCTION_ARGS)
{
	return text_input(fcinfo, METER_EVENT_RECORD);
}

/* Make a measure of a text. */
Datum
meter_measure_in(PG_FUNCTION_ARGS)
{
	return text_input(fcinfo, METER_MEASURE_RECORD);
}

/* Return the canonical text of a record, or the raw text of a bad one. */
Datum
meter_record_out(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_GETARG_VARLENA_PP(0);
	MeterRecord record;
	MeterAttr	raw;
	MeterAttr	text;
	size_t		length;

	if (meter_record_is_bad(value, &raw, NULL))
		PG_RETURN_CSTRING(pnstrdup(raw.data, raw.len));
	meter_record_unpack(value, &record);
	text.data = meter_record_to_text(&record, &length);
	text.len = (int32) length;
	if (server_takes_utf8())
		PG_RETURN_CSTRING(unconstify(char *, text.data));
	PG_RETURN_CSTRING(to_server_cstring(text));
}

/* Make a record of a jsonb, as of the text of it. */
static Datum
jsonb_input(FunctionCallInfo fcinfo, MeterRecordKind kind)
{
	Jsonb	   *json = PG_GETARG_JSONB_P(0);
	char	   *raw = JsonbToCString(NULL, &json->root, VARSIZE(json));
	MeterAttr	text = meter_record_from_server(raw, strlen(raw));
	MeterRecord record;
	MeterProblem problem;

	if (!read_text(kind, text, &record, &problem))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("jsonb is no %s", meter_record_forms[kind].name),
				 errdetail("%s", describe_problem(text.data, &problem))));
	return PointerGetDatum(meter_record_pack(&record));
}

/* Make an event of a jsonb. */
Datum
meter_event_from_jsonb(PG_FUNCTION_ARGS)
{
	return jsonb_input(fcinfo, METER_EVENT_RECORD);
}

/* Make a measure of a jsonb. */
Datum
meter_measure_from_jsonb(PG_FUNCTION_ARGS)
{
	return jsonb_input(fcinfo, METER_MEASURE_RECORD);
}

/* Make a jsonb of a record. */
Datum
meter_record_to_jsonb(PG_FUNCTION_ARGS)
{
	MeterRecord record;
	MeterAttr	text;
	size_t		length;

	get_record(fcinfo, 0, &record);
	text.data = meter_record_to_text(&record, &length);
	text.len = (int32) length;
	return meter_record_jsonb(text);
}

/* --- what can be asked of one ------------------------------------------- */

/* Return an instant as text. */
static Datum
instant_text(int64 time)
{
	char		instant[METER_INSTANT_SIZE];

	return meter_record_text(meter_attr(instant,
										meter_instant_write(time, instant)));
}

/* Return a field or an attribute of a record, NULL where it has none. */
static MeterAttr
find_value(const MeterRecord *record, MeterAttr name)
{
	MeterAttr	value;
	int			i;

	for (i = 0; i < METER_NFIELDS; i++)
	{
		if (MeterHasField(meter_record_forms[record->kind].fields, i) &&
			meter_text_is(name, meter_field_names[i]))
			return record->fields[i];
	}
	if (!meter_attributes_find(record->fields[METER_ATTRIBUTES], name, &value))
		return METER_NULL_ATTR;
	return meter_json_text(value);
}

/*
 * record ->> name: a time, a field or an attribute as text, NULL where there
 * is none.
 */
Datum
meter_record_get(PG_FUNCTION_ARGS)
{
	MeterRecord record;
	const MeterRecordForm *form;
	text	   *name = PG_GETARG_TEXT_PP(1);
	MeterAttr	sought = meter_record_from_server(VARDATA_ANY(name),
												  VARSIZE_ANY_EXHDR(name));
	MeterAttr	value;

	get_record(fcinfo, 0, &record);
	form = &meter_record_forms[record.kind];
	if (meter_text_is(sought, form->times[0]))
		return instant_text(record.time);
	if (form->times[1] != NULL && meter_text_is(sought, form->times[1]))
		return instant_text(record.end);
	value = find_value(&record, sought);
	if (MeterAttrIsNull(value))
		PG_RETURN_NULL();
	return meter_record_text(value);
}

/* Return the time of an event, or the start of a measure. */
Datum
meter_record_time(PG_FUNCTION_ARGS)
{
	MeterRecord record;

	get_record(fcinfo, 0, &record);
	PG_RETURN_TIMESTAMPTZ(record.time);
}

/* Return the end of a measure. */
Datum
meter_record_end(PG_FUNCTION_ARGS)
{
	MeterRecord record;

	get_record(fcinfo, 0, &record);
	PG_RETURN_TIMESTAMPTZ(record.end);
}

/* Return the value of a record; NULL where it has none. */
Datum
meter_record_value(PG_FUNCTION_ARGS)
{
	MeterRecord record;

	get_record(fcinfo, 0, &record);
	if (MeterAttrIsNull(record.fields[METER_VALUE]))
		PG_RETURN_NULL();
	PG_RETURN_NUMERIC(meter_numeric_from_attr(record.fields[METER_VALUE]));
}

/* Return the attributes of a record; NULL where it has none. */
Datum
meter_record_attributes(PG_FUNCTION_ARGS)
{
	MeterRecord record;

	get_record(fcinfo, 0, &record);
	if (MeterAttrIsNull(record.fields[METER_ATTRIBUTES]))
		PG_RETURN_NULL();
	return meter_record_jsonb(record.fields[METER_ATTRIBUTES]);
}

/* --- order -------------------------------------------------------------- */

/* Order the records in arguments 0 and 1. */
static int
compare(FunctionCallInfo fcinfo)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);
	struct varlena *b = PG_GETARG_VARLENA_PP(1);
	MeterRecord x;
	MeterRecord y;
	int			cmp;

	meter_record_unpack(a, &x);
	meter_record_unpack(b, &y);
	cmp = meter_record_order(&x, &y);
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return cmp;
}

/* record = record */
Datum
meter_record_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) == 0);
}

/* record <> record */
Datum
meter_record_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) != 0);
}

/* record < record */
Datum
meter_record_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) < 0);
}

/* record <= record */
Datum
meter_record_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) <= 0);
}

/* record > record */
Datum
meter_record_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) > 0);
}

/* record >= record */
Datum
meter_record_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) >= 0);
}

/* Order two records, for indexes and sorts. */
Datum
meter_record_compare(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare(fcinfo));
}

/* Hash a record: equal records are equal bytes. */
Datum
meter_record_hash(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_GETARG_VARLENA_PP(0);
	MeterRecord record;
	Datum		hash;

	meter_record_unpack(value, &record);
	hash = hash_any((const unsigned char *) VARDATA_ANY(value),
					VARSIZE_ANY_EXHDR(value));
	PG_FREE_IF_COPY(value, 0);
	return hash;
}

/* Hash a record with a seed, for hash partitions. */
Datum
meter_record_hash_extended(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_GETARG_VARLENA_PP(0);
	MeterRecord record;
	Datum		hash;

	meter_record_unpack(value, &record);
	hash = hash_any_extended((const unsigned char *) VARDATA_ANY(value),
							 VARSIZE_ANY_EXHDR(value), PG_GETARG_INT64(1));
	PG_FREE_IF_COPY(value, 0);
	return hash;
}
