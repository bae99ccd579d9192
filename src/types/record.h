/*
 * record.h
 *	  The types meter.event and meter.measure in the server.
 *
 * A value is a record, packed, or a bad record: the text of what was to be one
 * and the reason why it is none.  Only the inboxes of a stream take bad
 * records; everything else refuses them, which meter_record_unpack() does.
 */
#ifndef METER_TYPES_RECORD_H
#define METER_TYPES_RECORD_H

#include "fmgr.h"

#include "core/core.h"
#include "core/record.h"

/*
 * The values of meter.on_bad_event: what becomes of a text that is no record.
 */
typedef enum MeterOnBadEvent
{
	METER_BAD_EVENT_ERROR,
	METER_BAD_EVENT_DIVERT
} MeterOnBadEvent;

extern int	meter_on_bad_event;

extern void meter_records_settings_init(void);

/* Make a value of a record that has passed meter_record_check(). */
extern struct varlena *meter_record_pack(const MeterRecord *record);

/*
 * Read a value, detoasted before; the texts of the record point into the
 * value, or into the struct.
 */
extern void meter_record_unpack(const struct varlena *value,
								MeterRecord *record);

/*
 * Make and read bad records; their text and reason are in the server's
 * encoding.  A blank line that COPY read into an inbox is one without a
 * reason.
 */
extern struct varlena *meter_record_bad(MeterRecordKind kind, const char *raw,
										size_t length, const char *reason);
extern bool meter_record_is_bad(const struct varlena *value,
								MeterAttr *raw, MeterAttr *reason);

/*
 * Return what an input function returns for bytes that are no record: a bad
 * record if meter.on_bad_event says so.  Otherwise raise the error, softly
 * where the server can.  raw and reason are in the server's encoding.
 */
extern Datum meter_record_refuse(FunctionCallInfo fcinfo, MeterRecordKind kind,
								 int errcode, const char *raw, size_t length,
								 const char *reason);

/* Return what the input function of a type returns for a text. */
extern Datum meter_record_input(FunctionCallInfo fcinfo, MeterRecordKind kind,
								const char *raw, size_t length);

/* Convert texts of a record to the server's encoding, and to values. */
extern MeterAttr meter_record_to_server(MeterAttr text);
extern MeterAttr meter_record_from_server(const char *text, size_t length);
extern Datum meter_record_text(MeterAttr text);
extern Datum meter_record_jsonb(MeterAttr json);

#endif							/* METER_TYPES_RECORD_H */
