/*
 * core.h
 *	  What the pure core (decimal, grid, pairing, rounding, codec) needs of its
 *	  surroundings: fixed-width types, palloc and nothing else.
 *
 * In the server that is PostgreSQL's c.h and palloc; with METER_STANDALONE it
 * is the C library, so that the core can be fuzzed and measured as a plain
 * program.  Core code reports bad input through return values, never by
 * raising an error, and allocates in the current memory context.
 */
#ifndef METER_CORE_H
#define METER_CORE_H

#ifdef METER_STANDALONE

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int64_t int64;
typedef int32_t int32;
typedef uint64_t uint64;
typedef uint32_t uint32;
typedef uint16_t uint16;
typedef uint8_t uint8;

#ifndef PG_INT64_MAX
#define PG_INT64_MAX INT64_MAX
#define PG_INT64_MIN INT64_MIN
#endif
#define Min(x, y) ((x) < (y) ? (x) : (y))
#define Max(x, y) ((x) > (y) ? (x) : (y))
#define Assert(condition) ((void) 0)

extern void *palloc(size_t size);
extern void *palloc0(size_t size);
extern void *repalloc(void *pointer, size_t size);
extern void pfree(void *pointer);

#else

#include "postgres.h"

#endif

/*
 * What grows with a resource is asked for by these.  Whoever walks a resource
 * may set a function that is told how many bytes are about to be asked for, and
 * does not return if that is too much.
 */
extern void (*meter_before_growth) (size_t size);
extern void meter_ask_growth(size_t size);
extern void *meter_grow(void *array, size_t size);

/* Instants are microseconds since 2000-01-01 00:00 UTC, as timestamptz is. */
#define METER_BEGIN		PG_INT64_MIN	/* -infinity */
#define METER_END		PG_INT64_MAX	/* infinity */

/* The first finite instant, and the one after the last: timestamptz's. */
#define METER_FIRST		INT64_C(-211813488000000000)
#define METER_LIMIT		INT64_C(9223371331200000000)

#define METER_SECOND	INT64_C(1000000)
#define METER_MINUTE	(60 * METER_SECOND)
#define METER_HOUR		(60 * METER_MINUTE)
#define METER_DAY		(24 * METER_HOUR)

/* Text or a decimal, not terminated; len < 0 is NULL. */
typedef struct MeterAttr
{
	const char *data;
	int32		len;
} MeterAttr;

#define METER_NULL_ATTR meter_attr(NULL, -1)
#define MeterAttrIsNull(attr) ((attr).len < 0)

static inline MeterAttr
meter_attr(const char *data, int32 len)
{
	MeterAttr	attr;

	attr.data = data;
	attr.len = len;
	return attr;
}

/* Make an attribute of a name in C. */
static inline MeterAttr
meter_name_attr(const char *name)
{
	return meter_attr(name, (int32) strlen(name));
}

#endif							/* METER_CORE_H */
