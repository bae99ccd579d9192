/*
 * access.h
 *	  Who may do what with a stream.
 */
#ifndef METER_ACCESS_H
#define METER_ACCESS_H

#include "nodes/pg_list.h"

/* The kinds of access to a stream that its owner may grant. */
typedef enum MeterAccess
{
	METER_ACCESS_INGEST,
	METER_ACCESS_ANALYST,
	METER_ACCESS_OPERATOR,
	METER_ACCESS_CONSUMER,
	METER_ACCESS_TENANT,		/* by meter.map_account() alone */
	METER_NACCESSES
} MeterAccess;

extern const char *const meter_access_names[METER_NACCESSES];

extern bool meter_has_access(const char *stream, MeterAccess access);
extern void meter_check_access(const char *stream, MeterAccess access);
extern int	meter_access_hint(const char *stream, MeterAccess access);
extern List *meter_active_streams(bool own);
extern bool meter_has_row_security(const char *stream, const char *table);
extern bool meter_is_isolated(const char *stream);
extern bool meter_reads_all(const char *stream);
extern Datum meter_own_accounts(const char *stream);

#endif							/* METER_ACCESS_H */
