/*
 * limits.h
 *	  What may enter a stream: the limits of the columns of its logs and its
 *	  inventory.
 */
#ifndef METER_LIMITS_H
#define METER_LIMITS_H

/* The limit of a column. */
typedef struct MeterLimit MeterLimit;

extern char *meter_limits_check(const char *stream, const char *table);
extern void meter_make_limits(const char *stream, const char *table);
extern void meter_check_limits(const char *stream);
extern const MeterLimit *meter_limit_of(const char *table,
										const char *column);
extern char *meter_beyond_limit(const MeterLimit *limit, Datum value);
extern void meter_check_source_name(const char *source);

#endif							/* METER_LIMITS_H */
