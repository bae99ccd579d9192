/*
 * record.c
 *	  Usage records, packed: how they are stored and compared.
 *
 * A packed record is
 *
 *	kind		one byte: 0x80 and its MeterRecordKind
 *	flags		one byte: which of the fields that may be left out are there
 *	time		8 bytes, most significant first, its sign bit turned over
 *	end			the same, of a measure
 *	fields		those that are there, in the order of MeterField, each its
 *				length + 1 (a varint: seven bits a byte, least first) and its
 *				bytes; or 0 and the 16 bytes of a UUID, which is one in small
 *				letters
 *
 * Everything in it has one spelling, so equal records are equal bytes.
 */
#include "core/core.h"
#include "core/decimal.h"
#include "core/jsontext.h"
#include "core/problem.h"
#include "core/record.h"

#define RECORD_MARK		0x80
#define MARK_SIZE		2		/* the bytes before the times */
#define VARINT_MAX		4		/* bytes: lengths are below 2^28 */

const char *const meter_field_names[METER_NFIELDS] = {
	"sequence", "resource", "action", "account", "entity", "offering", "value",
	"source", "id", "attributes"
};

#define FIELD(field)	(UINT32_C(1) << (field))
#define COMMON_FIELDS \
	(FIELD(METER_RESOURCE) | FIELD(METER_ACCOUNT) | FIELD(METER_ENTITY) | \
	 FIELD(METER_VALUE) | FIELD(METER_SOURCE) | FIELD(METER_ID) | \
	 FIELD(METER_ATTRIBUTES))

const MeterRecordForm meter_record_forms[METER_RECORD_KINDS] = {
	{
		"event", "an event", {"time", NULL},
		COMMON_FIELDS | FIELD(METER_SEQUENCE) | FIELD(METER_ACTION) |
		FIELD(METER_OFFERING),
		FIELD(METER_RESOURCE) | FIELD(METER_ACTION)
	},
	{
		"measure", "a measure", {"start_time", "end_time"},
		COMMON_FIELDS,
		FIELD(METER_RESOURCE)
	}
};

/* The flags of fields that may be left out. */
static const uint8 field_flags[METER_NFIELDS] = {
	[METER_SEQUENCE] = 0x01,[METER_ACCOUNT] = 0x02,[METER_ENTITY] = 0x04,
	[METER_OFFERING] = 0x08,[METER_VALUE] = 0x10,[METER_SOURCE] = 0x20,
	[METER_ID] = 0x40,[METER_ATTRIBUTES] = 0x80
};

/* Make a record of which nothing is known. */
void
meter_record_init(MeterRecord *record, MeterRecordKind kind)
{
	int			i;

	record->kind = kind;
	record->time = METER_END;
	record->end = METER_END;
	for (i = 0; i < METER_NFIELDS; i++)
		record->fields[i] = METER_NULL_ATTR;
}

/* Write a sequence in up to METER_SEQUENCE_SIZE bytes. */
MeterAttr
meter_sequence_write(int64 sequence, char *text)
{
	uint64		rest = sequence < 0 ? -(uint64) sequence : (uint64) sequence;
	char	   *end = text + METER_SEQUENCE_SIZE;
	char	   *to = end;

	do
	{
		*--to = (char) ('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (sequence < 0)
		*--to = '-';
	return meter_attr(to, (int32) (end - to));
}

/* Read a sequence from a canonical decimal.  Returns false if it is none. */
bool
meter_sequence_read(MeterAttr text, int64 *sequence)
{
	bool		negative = text.len > 0 && text.data[0] == '-';
	uint64		most = (uint64) PG_INT64_MAX + (negative ? 1 : 0);
	uint64		value = 0;
	int32		i = negative ? 1 : 0;

	if (i >= text.len)
		return false;
	for (; i < text.len; i++)
	{
		uint64		digit = (uint64) (text.data[i] - '0');

		if (text.data[i] < '0' || text.data[i] > '9' ||
			value > (most - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*sequence = (int64) (negative ? -value : value);
	return true;
}

/* Check a time of a record. */
static bool
check_time(int64 time, const char *name, MeterProblem *problem)
{
	if (time >= METER_FIRST && time < METER_LIMIT)
		return true;
	meter_fail_key(problem, 0, meter_name_attr(name),
				   time == METER_END ? "is missing" : "is out of range");
	return false;
}

/* Return what is wrong with a field of a record; NULL: nothing. */
static const char *
wrong_field(const MeterRecordForm *form, int i, MeterAttr field)
{
	int64		sequence;

	if (field.len <= 0 && MeterHasField(form->required, i))
		return field.len < 0 ? "is missing" : "must not be empty";
	if (field.len < 0)
		return NULL;
	if (!MeterHasField(form->fields, i))
		return "is no field";
	if (i == METER_SEQUENCE)
		return meter_sequence_read(field, &sequence) &&
			meter_decimal_is_canonical(field.data, field.len) ? NULL :
			"expected an integer of 64 bits";
	if (i == METER_VALUE && !meter_decimal_is_canonical(field.data, field.len))
		return "expected a number";
	if (i != METER_ATTRIBUTES && field.len > 0 &&
		!meter_text_is_valid(field.data, field.len))
		return "expected text in UTF-8 without zero bytes";
	return NULL;
}

/* Check that a record may be stored.  Attributes are taken to be canonical. */
bool
meter_record_check(const MeterRecord *record, MeterProblem *problem)
{
	const MeterRecordForm *form = &meter_record_forms[record->kind];
	int			i;

	if (!check_time(record->time, form->times[0], problem) ||
		(form->times[1] != NULL &&
		 !check_time(record->end, form->times[1], problem)))
		return false;
	if (form->times[1] != NULL && record->end < record->time)
	{
		meter_fail_key(problem, 0, meter_name_attr(form->times[1]),
					   "lies before \"%s\"", form->times[0]);
		return false;
	}
	for (i = 0; i < METER_NFIELDS; i++)
	{
		const char *wrong = wrong_field(form, i, record->fields[i]);

		if (wrong != NULL)
		{
			meter_fail_key(problem, 0, meter_name_attr(meter_field_names[i]), "%s",
						   wrong);
			return false;
		}
	}
	if (meter_record_bound(record) > METER_MAX_RECORD)
	{
		meter_fail_key(problem, 0, METER_NULL_ATTR,
					   "the %s is longer than %d MB", form->name,
					   METER_MAX_RECORD / 1024 / 1024);
		return false;
	}
	return true;
}

/* Order two texts by their bytes. */
static int
compare_bytes(MeterAttr a, MeterAttr b)
{
	int			cmp = memcmp(a.data, b.data, Min(a.len, b.len));

	if (cmp != 0)
		return cmp;
	return a.len < b.len ? -1 : a.len > b.len;
}

/* Order two values of one field, absent ones first. */
static int
compare_field(int field, MeterAttr a, MeterAttr b)
{
	int			cmp;

	if (a.len < 0 || b.len < 0)
		return (a.len >= 0) - (b.len >= 0);
	cmp = field == METER_VALUE || field == METER_SEQUENCE ?
		meter_decimal_cmp(a.data, a.len, b.data, b.len) : compare_bytes(a, b);
	return cmp < 0 ? -1 : cmp > 0;
}

/*
 * Order records of one kind: by time, then a measure's end, then by their
 * fields in the order of MeterField, texts as bytes, numbers as numbers,
 * absent fields first.
 */
int
meter_record_order(const MeterRecord *a, const MeterRecord *b)
{
	int			i;

	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	if (a->end != b->end)
		return a->end < b->end ? -1 : 1;
	for (i = 0; i < METER_NFIELDS; i++)
	{
		int			cmp = compare_field(i, a->fields[i], b->fields[i]);

		if (cmp != 0)
			return cmp;
	}
	return 0;
}

/* --- packed ------------------------------------------------------------- */

/* The value of each digit of a UUID as text, plus 1; 0 elsewhere. */
static const uint8 hex_digits[256] = {
	['0'] = 1,['1'] = 2,['2'] = 3,['3'] = 4,['4'] = 5,['5'] = 6,
	['6'] = 7,['7'] = 8,['8'] = 9,['9'] = 10,['a'] = 11,['b'] = 12,
	['c'] = 13,['d'] = 14,['e'] = 15,['f'] = 16
};

/* Return the value of a hexadecimal digit. */
static inline uint8
hex_value(char digit)
{
	return (uint8) (hex_digits[(uint8) digit] - 1);
}

/* Tell whether a UUID has a dash at a position. */
static inline bool
is_dash(int i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

/* Tell whether a text is a UUID in its canonical spelling. */
static inline bool
is_uuid(MeterAttr text)
{
	int			i;

	if (text.len != METER_UUID_SIZE || text.data[8] != '-' ||
		text.data[13] != '-' || text.data[18] != '-' || text.data[23] != '-')
		return false;
	for (i = 0; i < METER_UUID_SIZE; i++)
	{
		if (hex_digits[(uint8) text.data[i]] == 0 && !is_dash(i))
			return false;
	}
	return true;
}

/* Write a UUID as 16 bytes. */
static void
pack_uuid(const char *text, uint8 *to)
{
	int			i = 0;
	int			n;

	for (n = 0; n < 16; n++)
	{
		if (is_dash(i))
			i++;
		to[n] = (uint8) (hex_value(text[i]) << 4 | hex_value(text[i + 1]));
		i += 2;
	}
}

/* Write 16 bytes as a UUID. */
static void
unpack_uuid(const uint8 *bytes, char *to)
{
	static const char digits[] = "0123456789abcdef";
	int			i = 0;
	int			n;

	for (n = 0; n < 16; n++)
	{
		if (is_dash(i))
			to[i++] = '-';
		to[i++] = digits[bytes[n] >> 4];
		to[i++] = digits[bytes[n] & 15];
	}
}

/* Return how many bytes come before the fields of a packed record. */
static inline size_t
header_size(const MeterRecordForm *form)
{
	return form->times[1] == NULL ? MARK_SIZE + 8 : MARK_SIZE + 16;
}

/* Return an upper bound of the bytes that a packed record takes. */
size_t
meter_record_bound(const MeterRecord *record)
{
	size_t		size = header_size(&meter_record_forms[record->kind]);
	int			i;

	for (i = 0; i < METER_NFIELDS; i++)
	{
		if (!MeterAttrIsNull(record->fields[i]))
			size += VARINT_MAX + (size_t) record->fields[i].len;
	}
	return size;
}

/* Write a time in 8 bytes, which sort as it does. */
static void
write_time(int64 time, uint8 *to)
{
	uint64		bits = (uint64) time ^ (UINT64_C(1) << 63);
	int			i;

	for (i = 0; i < 8; i++)
		to[i] = (uint8) (bits >> (56 - 8 * i));
}

/* Read a time from 8 bytes. */
static int64
read_time(const uint8 *bytes)
{
	uint64		bits = 0;
	int			i;

	for (i = 0; i < 8; i++)
		bits = bits << 8 | bytes[i];
	return (int64) (bits ^ (UINT64_C(1) << 63));
}

/*
 * Write a record in at most meter_record_bound() bytes; returns their number.
 */
size_t
meter_record_write(const MeterRecord *record, uint8 *bytes)
{
	const MeterRecordForm *form = &meter_record_forms[record->kind];
	uint8	   *to = bytes + header_size(form);
	uint8		flags = 0;
	int			i;

	write_time(record->time, bytes + MARK_SIZE);
	if (form->times[1] != NULL)
		write_time(record->end, bytes + MARK_SIZE + 8);
	for (i = 0; i < METER_NFIELDS; i++)
	{
		MeterAttr	field = record->fields[i];
		uint32		length = (uint32) field.len + 1;

		if (field.len < 0)
			continue;
		flags |= field_flags[i];
		if (is_uuid(field))
		{
			*to++ = 0;
			pack_uuid(field.data, to);
			to += 16;
			continue;
		}
		for (; length >= 0x80; length >>= 7)
			*to++ = (uint8) (length | 0x80);
		*to++ = (uint8) length;
		memcpy(to, field.data, field.len);
		to += field.len;
	}
	bytes[0] = (uint8) (RECORD_MARK | record->kind);
	bytes[1] = flags;
	return to - bytes;
}

/*
 * Read a packed record.  Its texts stay where they are, except UUIDs.  Returns
 * false if the bytes are no record.
 */
bool
meter_record_read(const uint8 *bytes, size_t length, MeterRecord *record)
{
	const MeterRecordForm *form;
	const uint8 *at;
	const uint8 *end = bytes + length;
	int			i;

	if (length < MARK_SIZE || bytes[0] < RECORD_MARK ||
		bytes[0] >= RECORD_MARK + METER_RECORD_KINDS)
		return false;
	record->kind = (MeterRecordKind) (bytes[0] - RECORD_MARK);
	form = &meter_record_forms[record->kind];
	if (length < header_size(form))
		return false;
	record->time = read_time(bytes + MARK_SIZE);
	record->end = form->times[1] == NULL ? METER_END :
		read_time(bytes + MARK_SIZE + 8);
	at = bytes + header_size(form);
	for (i = 0; i < METER_NFIELDS; i++)
	{
		uint32		size = 0;
		int			shift = 0;

		record->fields[i] = METER_NULL_ATTR;
		if (!MeterHasField(form->fields, i))
		{
			if (field_flags[i] & bytes[1])
				return false;
			continue;
		}
		if ((field_flags[i] & bytes[1]) != field_flags[i])
			continue;
		do
		{
			if (at == end || shift > 21)
				return false;
			size |= (uint32) (*at & 0x7f) << shift;
			shift += 7;
		} while (*at++ & 0x80);
		if (size == 0)
		{
			if (end - at < 16 || i == METER_ATTRIBUTES)
				return false;
			unpack_uuid(at, record->uuids[i]);
			record->fields[i].data = record->uuids[i];
			record->fields[i].len = METER_UUID_SIZE;
			at += 16;
			continue;
		}
		size--;
		if (size > (size_t) (end - at))
			return false;
		record->fields[i].data = (const char *) at;
		record->fields[i].len = (int32) size;
		at += size;
	}
	return at == end;
}
