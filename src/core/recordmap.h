/*
 * recordmap.h
 *	  Usage records from the members of maps, whatever syntax these were read
 *	  from.
 */
#ifndef METER_RECORDMAP_H
#define METER_RECORDMAP_H

#include "core/core.h"
#include "core/jsontext.h"
#include "core/record.h"

/* What a key stands for; the fields are themselves. */
typedef enum MeterKeyMeaning
{
	METER_KEY_TIME = METER_NFIELDS, /* of an event; both times of a measure */
	METER_KEY_START,
	METER_KEY_END,
	METER_KEY_TYPE,				/* of an event, or the envelope of any */
	METER_KEY_SPECVERSION,
	METER_KEY_ATTRIBUTE
} MeterKeyMeaning;

/* A record that is being made of members. */
typedef struct MeterMapping
{
	const MeterTextOptions *options;
	const MeterRecordForm *form;
	MeterReader *reader;
	MeterReadMap read_map;
	MeterRecord *record;
	const MeterMembers *members;	/* of the map that is the record */
	bool		has_data;		/* there is the data of a CloudEvent */
	const char *time_key;		/* the one that set a time last */
	const char *end_at;			/* where the end of a measure stands */
	MeterWriter attributes;
	MeterItems	parts;			/* the attributes */
	MeterMembers data;			/* of the data of a CloudEvent */
} MeterMapping;

extern int	meter_record_key(MeterRecordKind kind, MeterAttr key);
extern void meter_map_begin(MeterMapping *mapping,
							const MeterTextOptions *options,
							MeterReader *reader, MeterReadMap read_map,
							MeterRecord *record);
extern const MeterMember *meter_map_find(const MeterMembers *members,
										 const char *name);
extern bool meter_map_read(MeterMapping *mapping, const MeterMember *member,
						   MeterMembers *members);
extern bool meter_map_text(MeterMapping *mapping, MeterField field,
						   const MeterMember *member);
extern bool meter_map_field(MeterMapping *mapping, int meaning,
							const MeterMember *member);
extern bool meter_map_attribute(MeterMapping *mapping, MeterAttr name,
								const MeterMember *member);
extern bool meter_map_members(MeterMapping *mapping,
							  const MeterMembers *members);
extern bool meter_map_attributes(MeterMapping *mapping,
								 const MeterMember *member);
extern bool meter_map_has(const MeterMapping *mapping, int n, MeterAttr name);
extern bool meter_map_sort(MeterMapping *mapping);
extern bool meter_map_finish(MeterMapping *mapping);
extern bool meter_map_complete(MeterMapping *mapping);
extern bool meter_map_fail(MeterMapping *mapping, const MeterMember *member,
						   const char *problem);
extern bool meter_map_missing(MeterMapping *mapping, const char *name,
							  const char *problem);

#endif							/* METER_RECORDMAP_H */
