/*
 * eventform.h
 *	  Usage events: what they are made of, packed and as text.
 */
#ifndef METER_EVENTFORM_H
#define METER_EVENTFORM_H

#include "core/core.h"
#include "core/problem.h"

/* The fields of an event besides its time, as they are stored and shown. */
typedef enum MeterField
{
	METER_RESOURCE,
	METER_ACTION,
	METER_ACCOUNT,
	METER_ENTITY,
	METER_OFFERING,
	METER_VALUE,				/* a canonical decimal */
	METER_SOURCE,
	METER_ID,
	METER_ATTRIBUTES,			/* a canonical JSON object that is not empty */
	METER_NFIELDS
} MeterField;

#define METER_UUID_SIZE		36

/*
 * An event.  All texts are UTF-8, whatever the server's encoding.  The UUIDs
 * of an event that was read from its packed form stand in the struct itself,
 * so the struct must not be copied.
 */
typedef struct MeterUsageEvent
{
	int64		time;
	MeterAttr	fields[METER_NFIELDS];
	char		uuids[METER_ATTRIBUTES][METER_UUID_SIZE];
} MeterUsageEvent;

extern const char *const meter_field_names[METER_NFIELDS];

extern void meter_event_init(MeterUsageEvent *event);
extern bool meter_event_check(const MeterUsageEvent *event,
							  MeterProblem *problem);
extern int	meter_event_cmp(const MeterUsageEvent *a,
							const MeterUsageEvent *b);

extern size_t meter_event_bound(const MeterUsageEvent *event);
extern size_t meter_event_write(const MeterUsageEvent *event, uint8 *bytes);
extern bool meter_event_read(const uint8 *bytes, size_t length,
							 MeterUsageEvent *event);
extern int64 meter_event_read_time(const uint8 *bytes);

extern char *meter_event_to_text(const MeterUsageEvent *event,
								 size_t *length);
extern bool meter_event_from_text(const char *text, size_t length,
								  MeterUsageEvent *event,
								  MeterProblem *problem);

/*
 * Attributes.  What stands in an event is the canonical text of a JSON
 * object: one line without white space, keys in the order of their bytes.
 */
extern bool meter_attributes_from_json(const char *text, size_t length,
									   MeterAttr *attributes,
									   MeterProblem *problem);
extern bool meter_attributes_from_texts(const MeterAttr *keys,
										const MeterAttr *values, int n,
										MeterAttr *attributes,
										MeterProblem *problem);
extern bool meter_attributes_next(MeterAttr attributes, int32 *at,
								  MeterAttr *key, MeterAttr *value);
extern bool meter_attributes_find(MeterAttr attributes, MeterAttr name,
								  MeterAttr *value);
extern MeterAttr meter_json_text(MeterAttr value);

#endif							/* METER_EVENTFORM_H */
