/*
 * views.h
 *	  The views of a stream, and who may see what is behind them.
 */
#ifndef METER_VIEWS_H
#define METER_VIEWS_H

extern void meter_create_views(const char *stream);
extern Datum meter_check_may_read(const char *stream, const char *view,
								  Datum key);

#endif							/* METER_VIEWS_H */
