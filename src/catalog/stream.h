/*
 * stream.h
 *	  Streams: schemas with logs and a ledger.
 */
#ifndef METER_STREAM_H
#define METER_STREAM_H

#include "meter.h"

extern Oid	meter_stream_owner(const char *stream);
extern void meter_check_stream_permission(const char *stream);
extern void meter_check_stream(const char *stream);
extern void meter_lock_stream(const char *stream);
pg_noreturn extern void meter_not_active(const char *stream);
extern bool meter_stream_is_active(const char *stream);
extern List *meter_active_streams(bool own);
extern char *meter_text_arg(FunctionCallInfo fcinfo, int argument,
							const char *what);

#endif							/* METER_STREAM_H */
