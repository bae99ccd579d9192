/*
 * home.h
 *	  Where a stream is active: in one database of one server.
 */
#ifndef METER_HOME_H
#define METER_HOME_H

/* The condition that a row a of meter.active_stream was written here. */
#define METER_IS_HOME(a) \
	"meter_internal.is_home(" a ".database, " a ".system, " a ".version, " a ".backup)"

extern bool meter_is_active_here(const char *stream);
extern void meter_move_in(const char *stream);
extern void meter_confirm_home(void);

#endif							/* METER_HOME_H */
