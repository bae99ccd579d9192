/*
 * stream.h
 *	  Streams: schemas with logs and a ledger.
 */
#ifndef METER_STREAM_H
#define METER_STREAM_H

#include "nodes/pg_list.h"

#include "pg/meter_compat.h"

extern Oid	meter_stream_owner(const char *stream);
extern void meter_check_stream_permission(const char *stream);
extern int	meter_stream_shape(const char *stream);
extern void meter_check_shape(const char *stream);
extern bool meter_stream_is_checked(const char *stream);
extern void meter_note_checked(const char *stream, uint64 changes);
extern void meter_check_stream(const char *stream);
extern bool meter_sees_all(void);
extern void meter_lock_stream(const char *stream);
extern void meter_delete_of_meter(const char *stream, const char *meter,
								  const char *const *tables, int ntables);
pg_noreturn extern void meter_no_stream(const char *stream);
pg_noreturn extern void meter_not_active(const char *stream);
extern int	meter_stream_shards(const char *stream);
extern void meter_refuse_distributed(const char *stream, const char *what);
extern bool meter_stream_is_active(const char *stream);
extern void meter_look_up_stream(const char *stream, bool *exists, bool *active);

#endif							/* METER_STREAM_H */
