/*
 * event.h
 *	  The type meter.event in the server.
 *
 * A value is an event, packed, or a bad event: the text of what was to be one
 * and the reason why it is none.  Only the inbox of a stream takes bad
 * events; everything else refuses them, which meter_event_unpack() does.
 */
#ifndef METER_EVENT_H
#define METER_EVENT_H

#include "fmgr.h"

#include "core/core.h"
#include "core/eventform.h"

/*
 * The values of meter.on_bad_event: what becomes of a text that is no event.
 */
typedef enum MeterOnBadEvent
{
	METER_BAD_EVENT_ERROR,
	METER_BAD_EVENT_DIVERT
} MeterOnBadEvent;

extern int	meter_on_bad_event;

extern void meter_events_settings_init(void);

/* Make a value of an event that has passed meter_event_check(). */
extern struct varlena *meter_event_pack(const MeterUsageEvent *event);

/*
 * Read a value, detoasted before; the texts of the event point into the value,
 * or into the struct.
 */
extern void meter_event_unpack(const struct varlena *value,
							   MeterUsageEvent *event);

/*
 * Make and read bad events; their text and reason are in the server's
 * encoding.
 */
extern struct varlena *meter_event_bad(const char *raw, size_t length,
									   const char *reason);
extern bool meter_event_is_bad(const struct varlena *value,
							   MeterAttr *raw, MeterAttr *reason);

/*
 * Return what an input function returns for bytes that are no event: a bad
 * event if meter.on_bad_event says so.  Otherwise raise the error, softly
 * where the server can.  raw and reason are in the server's encoding.
 */
extern Datum meter_event_refuse(FunctionCallInfo fcinfo, int errcode,
								const char *raw, size_t length,
								const char *reason);

/* Convert texts of an event to the server's encoding, and to values. */
extern MeterAttr meter_event_to_server(MeterAttr text);
extern MeterAttr meter_event_from_server(const char *text, size_t length);
extern Datum meter_event_text(MeterAttr text);
extern Datum meter_event_jsonb(MeterAttr json);

#endif							/* METER_EVENT_H */
