/*
 * position.h
 *	  The safe position: the arrival up to which no more rows can appear.
 */
#ifndef METER_POSITION_H
#define METER_POSITION_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"

/*
 * The condition for prepared transactions: after a restart, no others are left
 * of those that wrote before it.
 */
#define METER_PREPARED_WRITERS	"AND l.pid IS NULL"

extern Datum meter_find_writers(const char *stream, const char *log,
								const char *condition);
extern bool meter_any_left(Datum writers);
extern bool meter_committed_everywhere(const char *stream, const char *log,
									   Datum *writers);
extern int64 meter_last_arrival(const MeterDefinition *definition, MeterLog of_log,
								int64 position);
extern void meter_check_sequence(const char *stream, const char *log);
extern TimestampTz meter_server_start(void);
extern int64 meter_safe_position(const MeterDefinition *definition,
								 MeterProgress *progress, MeterLog log,
								 TimestampTz *noted_at);

#endif							/* METER_POSITION_H */
