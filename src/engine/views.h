/*
 * views.h
 *	  The views of a stream that depend on its meters.
 */
#ifndef METER_VIEWS_H
#define METER_VIEWS_H

extern void meter_rebuild_views(const char *stream);

#endif							/* METER_VIEWS_H */
