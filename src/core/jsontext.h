/*
 * jsontext.h
 *	  Canonical JSON text: what its readers and writers share.
 */
#ifndef METER_JSONTEXT_H
#define METER_JSONTEXT_H

#include "core/core.h"
#include "core/problem.h"

/* The longest packed record, and so the longest text in one. */
#define METER_MAX_RECORD		(16 * 1024 * 1024)

/* A text that grows; too_long once it would be longer than it may be. */
typedef struct MeterWriter
{
	char	   *text;
	size_t		used;
	size_t		size;
	bool		too_long;
} MeterWriter;

extern void meter_writer_init(MeterWriter *writer, size_t size);
extern void meter_put(MeterWriter *writer, const char *bytes, size_t length);
extern void meter_put_char(MeterWriter *writer, char byte);
extern void meter_put_string(MeterWriter *writer, const char *text,
							 size_t length);
extern bool meter_put_code_point(MeterWriter *writer, uint32 code_point);

/* Where a reader is, and whether something was wrong. */
typedef struct MeterReader
{
	const char *text;
	const char *at;
	const char *end;
	bool		failed;
	int			depth;			/* maps and lists around */
	int			discarded;		/* depth of #_: what is read is discarded */
	MeterAttr	key;			/* of the map that is looked at */
	MeterProblem *problem;
} MeterReader;

/* How deep maps and lists may be nested. */
#define METER_MAX_DEPTH		64

extern void meter_reader_init(MeterReader *reader, const char *text,
							  size_t length, MeterProblem *problem);

#ifdef __GNUC__
#define METER_PRINTF(format_number, first_argument) \
	__attribute__((format(printf, format_number, first_argument)))
#else
#define METER_PRINTF(format_number, first_argument)
#endif

extern void meter_fail(MeterReader *reader, const char *at,
					   const char *format,...) METER_PRINTF(3, 4);
extern void meter_fail_key(MeterProblem *problem, size_t position,
						   MeterAttr key, const char *format,...)
			METER_PRINTF(4, 5);
extern void meter_fail_expected(MeterReader *reader, const char *at,
								const char *expected);
extern MeterAttr meter_clip(const char *from, size_t length);

/* A member of the map that is looked at. */
typedef enum MeterValueKind
{
	METER_JSON_NULL,
	METER_JSON_BOOLEAN,
	METER_JSON_NUMBER,			/* a canonical decimal */
	METER_JSON_STRING,			/* the text itself, without quotes */
	METER_JSON_MAP,				/* canonical JSON, as for all kinds below */
	METER_JSON_LIST
} MeterValueKind;

typedef struct MeterMember
{
	MeterAttr	key;
	MeterAttr	value;
	MeterValueKind kind;
	bool		integer;		/* a number that is written as an integer */
	size_t		key_at;			/* position in the text */
	size_t		value_at;
} MeterMember;

#define METER_FEW_MEMBERS	24

typedef struct MeterMembers
{
	int			n;
	int			size;
	MeterMember *members;
	MeterMember few[METER_FEW_MEMBERS];
} MeterMembers;

extern void meter_members_init(MeterMembers *members);
extern MeterMember *meter_members_add(MeterMembers *members);

/* Read a map, member by member, in either syntax. */
typedef bool (*MeterReadMap) (MeterReader *reader, MeterMembers *members);
extern bool meter_json_read_map(MeterReader *reader, MeterMembers *members);
extern bool meter_edn_read_map(MeterReader *reader, MeterMembers *members);
extern void meter_json_skip_space(MeterReader *reader);
extern bool meter_json_next_element(MeterReader *reader, MeterAttr *element);
extern void meter_edn_skip_space(MeterReader *reader);

/* A member of a map, or an element of a set, as it is written. */
typedef struct MeterItem
{
	size_t		from;
	size_t		to;
	size_t		key;			/* the key to sort by, and its length */
	size_t		key_length;
	const char *at;				/* in the text that is read */
} MeterItem;

typedef struct MeterItems
{
	int			n;
	int			size;
	bool		sorted;
	MeterItem  *parts;
	MeterItem	few[8];
} MeterItems;

extern void meter_items_init(MeterItems *parts);
extern void meter_items_add(MeterItems *parts, const MeterWriter *writer,
							MeterItem part);
extern bool meter_items_have(const MeterItems *parts, int n,
							 const MeterWriter *writer,
							 const char *key, size_t length);
extern const MeterItem *meter_items_sort(MeterItems *parts,
										 MeterWriter *writer);

/* Functions that the readers of both syntaxes share. */
extern bool meter_read_enter(MeterReader *reader);
extern bool meter_read_hex(MeterReader *reader, uint32 *code_unit);
extern void meter_read_escaped(MeterReader *reader, MeterWriter *writer);
extern bool meter_read_string(MeterReader *reader, MeterAttr *text,
							  bool controls);
extern void meter_fail_number(MeterReader *reader, const char *at,
							  size_t length, const char *problem);
extern void meter_fail_twice(MeterReader *reader, const MeterWriter *writer,
							 const MeterItem *part, const char *where);
extern bool meter_members_unique(MeterReader *reader,
								 const MeterMembers *members);

extern size_t meter_utf8_length(const char *at, const char *end);
extern bool meter_text_is_valid(const char *text, size_t length);

static inline bool
meter_text_is(MeterAttr text, const char *other)
{
	return (size_t) text.len == strlen(other) &&
		memcmp(text.data, other, text.len) == 0;
}

static inline bool
meter_attr_same(MeterAttr a, MeterAttr b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* Read a number; returns NULL, or what is wrong with it. */
extern const char *meter_number_parse(const char *text, size_t length,
									  MeterAttr *number, bool *integer);

#endif							/* METER_JSONTEXT_H */
