/*
 * views.h
 *	  The views of a stream that functions are behind.
 */
#ifndef METER_VIEWS_H
#define METER_VIEWS_H

extern void meter_create_views(const char *stream);
extern void meter_check_may_read(const char *stream, const char *view,
								 Datum key);

#endif							/* METER_VIEWS_H */
