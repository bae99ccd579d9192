/*
 * eventform.c
 *	  Usage events, packed: how they are stored and compared.
 *
 * A packed event is
 *
 *	flags		one byte: bit 7 says that it is an event; the others, from bit
 *				0, which of the fields from METER_ACCOUNT on there are
 *	time		8 bytes, most significant first, its sign bit turned over
 *	fields		resource, action and those there are, each its length + 1 (a
 *				varint: seven bits a byte, least first) and its bytes; or 0
 *				and the 16 bytes of a UUID, which is one in small letters
 *
 * Everything in it has one spelling, so equal events are equal bytes.
 */
#include "core/core.h"
#include "core/decimal.h"
#include "core/eventform.h"
#include "core/jsontext.h"
#include "core/problem.h"

#define FLAG_EVENT		0x80
#define HEADER_SIZE		9
#define VARINT_MAX		4		/* bytes: lengths are below 2^28 */

const char *const meter_field_names[METER_NFIELDS] = {
	"resource", "action", "account", "entity", "offering", "value", "source",
	"id", "attributes"
};

/* Make an event of which nothing is known. */
void
meter_event_init(MeterUsageEvent *event)
{
	int			i;

	event->time = METER_END;
	for (i = 0; i < METER_NFIELDS; i++)
		event->fields[i] = METER_NULL_ATTR;
}

/* Make an attribute of a name in C. */
static MeterAttr
name_attr(const char *name)
{
	return meter_attr(name, (int32) strlen(name));
}

/* Check that an event may be stored.  Attributes are taken to be canonical. */
bool
meter_event_check(const MeterUsageEvent *event, MeterProblem *problem)
{
	int			i;

	if (event->time == METER_END)
	{
		meter_fail_key(problem, 0, name_attr("time"), "is missing");
		return false;
	}
	if (event->time < METER_FIRST || event->time >= METER_LIMIT)
	{
		meter_fail_key(problem, 0, name_attr("time"), "is out of range");
		return false;
	}
	for (i = 0; i < METER_NFIELDS; i++)
	{
		MeterAttr	field = event->fields[i];

		if (i < METER_ACCOUNT && field.len <= 0)
		{
			meter_fail_key(problem, 0, name_attr(meter_field_names[i]),
						   field.len < 0 ? "is missing" : "must not be empty");
			return false;
		}
		if (i == METER_VALUE && field.len >= 0 &&
			!meter_decimal_is_canonical(field.data, field.len))
		{
			meter_fail_key(problem, 0, name_attr(meter_field_names[i]),
						   "expected a number");
			return false;
		}
		if (i != METER_ATTRIBUTES && field.len > 0 &&
			!meter_text_is_valid(field.data, field.len))
		{
			meter_fail_key(problem, 0, name_attr(meter_field_names[i]),
						   "expected text in UTF-8 without zero bytes");
			return false;
		}
	}
	if (meter_event_bound(event) > METER_MAX_EVENT)
	{
		meter_fail_key(problem, 0, METER_NULL_ATTR,
					   "the event is longer than %d MB",
					   METER_MAX_EVENT / 1024 / 1024);
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

/*
 * Order events: by time, then by their fields in the order of MeterField,
 * texts as bytes, values as numbers, absent fields first.
 */
int
meter_event_cmp(const MeterUsageEvent *a, const MeterUsageEvent *b)
{
	int			i;

	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	for (i = 0; i < METER_NFIELDS; i++)
	{
		MeterAttr	x = a->fields[i];
		MeterAttr	y = b->fields[i];
		int			cmp;

		if (x.len < 0 || y.len < 0)
			cmp = (x.len >= 0) - (y.len >= 0);
		else if (i == METER_VALUE)
			cmp = meter_decimal_cmp(x.data, x.len, y.data, y.len);
		else
			cmp = compare_bytes(x, y);
		if (cmp != 0)
			return cmp < 0 ? -1 : 1;
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

/* Return an upper bound of the bytes that a packed event takes. */
size_t
meter_event_bound(const MeterUsageEvent *event)
{
	size_t		size = HEADER_SIZE;
	int			i;

	for (i = 0; i < METER_NFIELDS; i++)
	{
		if (!MeterAttrIsNull(event->fields[i]))
			size += VARINT_MAX + (size_t) event->fields[i].len;
	}
	return size;
}

/*
 * Write an event in at most meter_event_bound() bytes; returns their number.
 */
size_t
meter_event_write(const MeterUsageEvent *event, uint8 *bytes)
{
	uint64		time = (uint64) event->time ^ (UINT64_C(1) << 63);
	uint8	   *to = bytes + HEADER_SIZE;
	uint8		flags = FLAG_EVENT;
	int			i;

	for (i = 0; i < 8; i++)
		bytes[1 + i] = (uint8) (time >> (56 - 8 * i));
	for (i = 0; i < METER_NFIELDS; i++)
	{
		MeterAttr	field = event->fields[i];
		uint32		length = (uint32) field.len + 1;

		if (field.len < 0)
			continue;
		if (i >= METER_ACCOUNT)
			flags |= (uint8) (1 << (i - METER_ACCOUNT));
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
	bytes[0] = flags;
	return to - bytes;
}

/*
 * Return the time of a packed event that meter_event_read() accepted before.
 */
int64
meter_event_read_time(const uint8 *bytes)
{
	uint64		time = 0;
	int			i;

	for (i = 0; i < 8; i++)
		time = time << 8 | bytes[1 + i];
	return (int64) (time ^ (UINT64_C(1) << 63));
}

/*
 * Read a packed event.  Its texts stay where they are, except UUIDs.  Returns
 * false if the bytes are no event.
 */
bool
meter_event_read(const uint8 *bytes, size_t length, MeterUsageEvent *event)
{
	const uint8 *at = bytes + HEADER_SIZE;
	const uint8 *end = bytes + length;
	int			i;

	if (length < HEADER_SIZE || (bytes[0] & FLAG_EVENT) == 0)
		return false;
	event->time = meter_event_read_time(bytes);
	for (i = 0; i < METER_NFIELDS; i++)
	{
		uint32		size = 0;
		int			shift = 0;

		event->fields[i] = METER_NULL_ATTR;
		if (i >= METER_ACCOUNT && (bytes[0] >> (i - METER_ACCOUNT) & 1) == 0)
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
			unpack_uuid(at, event->uuids[i]);
			event->fields[i].data = event->uuids[i];
			event->fields[i].len = METER_UUID_SIZE;
			at += 16;
			continue;
		}
		size--;
		if (size > (size_t) (end - at))
			return false;
		event->fields[i].data = (const char *) at;
		event->fields[i].len = (int32) size;
		at += size;
	}
	return at == end;
}
