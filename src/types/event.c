/*
 * event.c
 *	  The type meter.event: input, output, order, and what can be asked of one.
 *
 * A value is a packed event (eventform.c), or a bad event:
 *
 *	0x01		one byte
 *	length		of the reason, 4 bytes, most significant first
 *	reason		then the raw text, up to the end, in the server's encoding
 *
 * An event's texts are UTF-8 also in the server: elsewhere they are converted
 * where they come in and go out.
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
#include "core/eventform.h"
#include "core/instant.h"
#include "core/jsontext.h"
#include "core/problem.h"
#include "pg/meter_compat.h"
#include "pg/quantity.h"
#include "types/event.h"

PG_FUNCTION_INFO_V1(meter_event_in);
PG_FUNCTION_INFO_V1(meter_event_out);
PG_FUNCTION_INFO_V1(meter_event_eq);
PG_FUNCTION_INFO_V1(meter_event_ne);
PG_FUNCTION_INFO_V1(meter_event_lt);
PG_FUNCTION_INFO_V1(meter_event_le);
PG_FUNCTION_INFO_V1(meter_event_gt);
PG_FUNCTION_INFO_V1(meter_event_ge);
PG_FUNCTION_INFO_V1(meter_event_compare);
PG_FUNCTION_INFO_V1(meter_event_hash);
PG_FUNCTION_INFO_V1(meter_event_hash_extended);
PG_FUNCTION_INFO_V1(meter_event_from_jsonb);
PG_FUNCTION_INFO_V1(meter_event_to_jsonb);
PG_FUNCTION_INFO_V1(meter_event_get);
PG_FUNCTION_INFO_V1(meter_event_time);
PG_FUNCTION_INFO_V1(meter_event_value);
PG_FUNCTION_INFO_V1(meter_event_attributes);

#define BAD_EVENT		0x01
#define BAD_HEADER_SIZE	5

int			meter_on_bad_event = METER_BAD_EVENT_ERROR;

static const struct config_enum_entry on_bad_event_options[] = {
	{"error", METER_BAD_EVENT_ERROR, false},
	{"divert", METER_BAD_EVENT_DIVERT, false},
	{NULL, 0, false}
};

/* Define the setting meter.on_bad_event, while the library is loaded. */
void
meter_events_settings_init(void)
{
	DefineCustomEnumVariable("meter.on_bad_event",
							 "What becomes of input that is no event: error, or divert.",
							 "Diverted, it becomes a bad event, which only the inbox of a stream takes, and keeps in its table \"rejected\".",
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

/* Tell whether the server's encoding has all the characters of an event. */
static bool
fits_server(const MeterUsageEvent *event)
{
	size_t		length;
	char	   *text;
	char	   *converted;
	Oid			conversion;

	if (server_takes_utf8())
		return true;
	text = meter_event_to_text(event, &length);
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
meter_event_from_server(const char *text, size_t length)
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

/* Convert a text of an event to the server's encoding. */
MeterAttr
meter_event_to_server(MeterAttr text)
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

/* Convert a text of an event to a C string in the server's encoding. */
static char *
to_server_cstring(MeterAttr text)
{
	MeterAttr	converted = meter_event_to_server(text);

	return pnstrdup(converted.data, converted.len);
}

/* --- values ------------------------------------------------------------- */

/* Make a value of an event that has passed meter_event_check(). */
struct varlena *
meter_event_pack(const MeterUsageEvent *event)
{
	struct varlena *value = palloc(VARHDRSZ + meter_event_bound(event));

	if (!fits_server(event))
		ereport(ERROR,
				(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
				 errmsg("event has a character that is not in the encoding \"%s\" of this database",
						GetDatabaseEncodingName())));
	SET_VARSIZE(value, VARHDRSZ +
				meter_event_write(event, (uint8 *) VARDATA(value)));
	return value;
}

/* Make a bad event: what was to be an event, and the reason why it is none. */
struct varlena *
meter_event_bad(const char *raw, size_t length, const char *reason)
{
	size_t		reason_length = strlen(reason);
	size_t		size = VARHDRSZ + BAD_HEADER_SIZE + reason_length;
	struct varlena *value;
	char	   *to;
	int			i;

	if (length > MaxAllocSize - size)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("bad event of %zu bytes is too long to be kept",
						length)));
	value = palloc(size + length);
	SET_VARSIZE(value, size + length);
	to = VARDATA(value);
	*to++ = BAD_EVENT;
	for (i = 24; i >= 0; i -= 8)
		*to++ = (char) (reason_length >> i);
	memcpy(to, reason, reason_length);
	memcpy(to + reason_length, raw, length);
	return value;
}

/*
 * Tell whether a value is a bad event.  Then its text and reason point into
 * it.
 */
bool
meter_event_is_bad(const struct varlena *value,
				   MeterAttr *raw, MeterAttr *reason)
{
	const uint8 *bytes = (const uint8 *) VARDATA_ANY(value);
	size_t		length = VARSIZE_ANY_EXHDR(value);
	uint32		reason_length;

	if (length < BAD_HEADER_SIZE || bytes[0] != BAD_EVENT)
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

/* Raise that a value is not an event, because it is a bad one or damaged. */
static void
refuse_value(const struct varlena *value)
{
	MeterAttr	reason;

	if (meter_event_is_bad(value, NULL, &reason))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("the value is a bad event"),
				 errdetail("%s", pnstrdup(reason.data, reason.len)),
				 errhint("Bad events, which meter.on_bad_event = 'divert' makes, can only be shown, and inserted into the inbox of a stream.")));
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("value of type %s is damaged", "meter.event")));
}

/* Read a value, detoasted before; the texts of the event point into it. */
void
meter_event_unpack(const struct varlena *value, MeterUsageEvent *event)
{
	if (unlikely(!meter_event_read((const uint8 *) VARDATA_ANY(value),
								   VARSIZE_ANY_EXHDR(value), event)))
		refuse_value(value);
}

/* Read the event in argument n. */
static void
get_event(FunctionCallInfo fcinfo, int n, MeterUsageEvent *event)
{
	meter_event_unpack(PG_GETARG_VARLENA_PP(n), event);
}

/* Make a text value of a text of an event. */
Datum
meter_event_text(MeterAttr text)
{
	MeterAttr	converted = meter_event_to_server(text);

	return PointerGetDatum(cstring_to_text_with_len(converted.data,
													converted.len));
}

/* Make a jsonb of a canonical JSON text. */
Datum
meter_event_jsonb(MeterAttr json)
{
	return DirectFunctionCall1(jsonb_in,
							   CStringGetDatum(to_server_cstring(json)));
}

/* --- text --------------------------------------------------------------- */

/*
 * Refuse bytes that are no event: with an error, or as a bad event, as
 * meter.on_bad_event says.
 */
Datum
meter_event_refuse(FunctionCallInfo fcinfo, int code,
				   const char *raw, size_t length, const char *reason)
{
	if (meter_on_bad_event == METER_BAD_EVENT_DIVERT)
		return PointerGetDatum(meter_event_bad(raw, length, reason));
	meter_ereturn(fcinfo->context, (Datum) 0,
				  (errcode(code),
				   errmsg("invalid input for type %s", "meter.event"),
				   errdetail("%s", reason)));
}

/*
 * Describe why a text is no event, for people: positions are characters from
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

/* Make an event of a text: JSON, EDN or a CloudEvent. */
Datum
meter_event_in(PG_FUNCTION_ARGS)
{
	char	   *raw = PG_GETARG_CSTRING(0);
	size_t		raw_length = strlen(raw);
	MeterAttr	text = meter_event_from_server(raw, raw_length);
	MeterUsageEvent event;
	MeterProblem problem;

	if (!meter_event_from_text(text.data, text.len, &event, &problem))
		return meter_event_refuse(fcinfo, ERRCODE_INVALID_TEXT_REPRESENTATION,
								  raw, raw_length,
								  describe_problem(text.data, &problem));
	if (!fits_server(&event))
		return meter_event_refuse(fcinfo, ERRCODE_UNTRANSLATABLE_CHARACTER,
								  raw, raw_length,
								  psprintf("It has a character that is not in the encoding \"%s\" of this database.",
										   GetDatabaseEncodingName()));
	PG_RETURN_POINTER(meter_event_pack(&event));
}

/* Return the canonical text of an event, or the raw text of a bad one. */
Datum
meter_event_out(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_GETARG_VARLENA_PP(0);
	MeterUsageEvent event;
	MeterAttr	raw;
	MeterAttr	text;
	size_t		length;

	if (meter_event_is_bad(value, &raw, NULL))
		PG_RETURN_CSTRING(pnstrdup(raw.data, raw.len));
	meter_event_unpack(value, &event);
	text.data = meter_event_to_text(&event, &length);
	text.len = (int32) length;
	if (server_takes_utf8())
		PG_RETURN_CSTRING(unconstify(char *, text.data));
	PG_RETURN_CSTRING(to_server_cstring(text));
}

/* Make an event of a jsonb, as of the text of it. */
Datum
meter_event_from_jsonb(PG_FUNCTION_ARGS)
{
	Jsonb	   *json = PG_GETARG_JSONB_P(0);
	char	   *raw = JsonbToCString(NULL, &json->root, VARSIZE(json));
	MeterAttr	text = meter_event_from_server(raw, strlen(raw));
	MeterUsageEvent event;
	MeterProblem problem;

	if (!meter_event_from_text(text.data, text.len, &event, &problem))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("jsonb is no event"),
				 errdetail("%s", describe_problem(text.data, &problem))));
	PG_RETURN_POINTER(meter_event_pack(&event));
}

/* Make a jsonb of an event. */
Datum
meter_event_to_jsonb(PG_FUNCTION_ARGS)
{
	MeterUsageEvent event;
	MeterAttr	text;
	size_t		length;

	get_event(fcinfo, 0, &event);
	text.data = meter_event_to_text(&event, &length);
	text.len = (int32) length;
	return meter_event_jsonb(text);
}

/* --- what can be asked of one ------------------------------------------- */

/* event ->> name: a field or an attribute as text, NULL where there is none. */
Datum
meter_event_get(PG_FUNCTION_ARGS)
{
	MeterUsageEvent event;
	text	   *name = PG_GETARG_TEXT_PP(1);
	MeterAttr	sought = meter_event_from_server(VARDATA_ANY(name),
												 VARSIZE_ANY_EXHDR(name));
	MeterAttr	value;
	int			i;

	get_event(fcinfo, 0, &event);
	if (meter_text_is(sought, "time"))
	{
		char	   *instant = palloc(METER_INSTANT_SIZE);

		value.data = instant;
		value.len = meter_instant_write(event.time, instant);
		return meter_event_text(value);
	}
	for (i = 0; i < METER_NFIELDS; i++)
	{
		if (meter_text_is(sought, meter_field_names[i]))
		{
			if (MeterAttrIsNull(event.fields[i]))
				PG_RETURN_NULL();
			return meter_event_text(event.fields[i]);
		}
	}

	if (!meter_attributes_find(event.fields[METER_ATTRIBUTES], sought, &value))
		PG_RETURN_NULL();
	value = meter_json_text(value);
	if (MeterAttrIsNull(value))
		PG_RETURN_NULL();
	return meter_event_text(value);
}

/* Return the time of an event. */
Datum
meter_event_time(PG_FUNCTION_ARGS)
{
	MeterUsageEvent event;

	get_event(fcinfo, 0, &event);
	PG_RETURN_TIMESTAMPTZ(event.time);
}

/* Return the value of an event; NULL where it has none. */
Datum
meter_event_value(PG_FUNCTION_ARGS)
{
	MeterUsageEvent event;

	get_event(fcinfo, 0, &event);
	if (MeterAttrIsNull(event.fields[METER_VALUE]))
		PG_RETURN_NULL();
	PG_RETURN_NUMERIC(meter_numeric_from_attr(event.fields[METER_VALUE]));
}

/* Return the attributes of an event; NULL where it has none. */
Datum
meter_event_attributes(PG_FUNCTION_ARGS)
{
	MeterUsageEvent event;

	get_event(fcinfo, 0, &event);
	if (MeterAttrIsNull(event.fields[METER_ATTRIBUTES]))
		PG_RETURN_NULL();
	return meter_event_jsonb(event.fields[METER_ATTRIBUTES]);
}

/* --- order -------------------------------------------------------------- */

/* Order the events in arguments 0 and 1. */
static int
compare(FunctionCallInfo fcinfo)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);
	struct varlena *b = PG_GETARG_VARLENA_PP(1);
	MeterUsageEvent x;
	MeterUsageEvent y;
	int			cmp;

	meter_event_unpack(a, &x);
	meter_event_unpack(b, &y);
	cmp = meter_event_cmp(&x, &y);
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return cmp;
}

/* event = event */
Datum
meter_event_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) == 0);
}

/* event <> event */
Datum
meter_event_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) != 0);
}

/* event < event */
Datum
meter_event_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) < 0);
}

/* event <= event */
Datum
meter_event_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) <= 0);
}

/* event > event */
Datum
meter_event_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) > 0);
}

/* event >= event */
Datum
meter_event_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) >= 0);
}

/* Order two events, for indexes and sorts. */
Datum
meter_event_compare(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare(fcinfo));
}

/* Hash an event: equal events are equal bytes. */
Datum
meter_event_hash(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_GETARG_VARLENA_PP(0);
	MeterUsageEvent event;
	Datum		hash;

	meter_event_unpack(value, &event);
	hash = hash_any((const unsigned char *) VARDATA_ANY(value),
					VARSIZE_ANY_EXHDR(value));
	PG_FREE_IF_COPY(value, 0);
	return hash;
}

/* Hash an event with a seed, for hash partitions. */
Datum
meter_event_hash_extended(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_GETARG_VARLENA_PP(0);
	MeterUsageEvent event;
	Datum		hash;

	meter_event_unpack(value, &event);
	hash = hash_any_extended((const unsigned char *) VARDATA_ANY(value),
							 VARSIZE_ANY_EXHDR(value), PG_GETARG_INT64(1));
	PG_FREE_IF_COPY(value, 0);
	return hash;
}
