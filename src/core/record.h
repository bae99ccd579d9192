/*
 * record.h
 *	  Usage records, which are events and measures as values: what they are
 *	  made of, packed and as text.
 */
#ifndef METER_RECORD_H
#define METER_RECORD_H

#include "core/core.h"
#include "core/problem.h"

typedef enum MeterRecordKind
{
	METER_EVENT_RECORD,
	METER_MEASURE_RECORD,
	METER_RECORD_KINDS
} MeterRecordKind;

/* The fields of a record besides its times, as they are stored and shown. */
typedef enum MeterField
{
	METER_SEQUENCE,				/* a canonical decimal, an integer of 64 bits */
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

/* What records of a kind have. */
typedef struct MeterRecordForm
{
	const char *name;
	const char *one;			/* with its article */
	const char *times[2];		/* names; NULL: there is one time only */
	uint32		fields;			/* bit f: they can have field f */
	uint32		required;		/* bit f: they must, and not empty */
} MeterRecordForm;

#define MeterHasField(mask, field)	(((mask) >> (field)) & 1)

extern const MeterRecordForm meter_record_forms[METER_RECORD_KINDS];

#define METER_UUID_SIZE		36

/*
 * A record.  All texts are UTF-8, whatever the server's encoding.  The UUIDs
 * of a record that was read from its packed form stand in the struct itself,
 * so the struct must not be copied.
 */
typedef struct MeterRecord
{
	MeterRecordKind kind;
	int64		time;			/* of a measure, its start */
	int64		end;			/* of a measure */
	MeterAttr	fields[METER_NFIELDS];
	char		uuids[METER_ATTRIBUTES][METER_UUID_SIZE];
} MeterRecord;

extern const char *const meter_field_names[METER_NFIELDS];

extern void meter_record_init(MeterRecord *record, MeterRecordKind kind);
extern bool meter_record_check(const MeterRecord *record,
							   MeterProblem *problem);
extern int	meter_record_order(const MeterRecord *a, const MeterRecord *b);

extern size_t meter_record_bound(const MeterRecord *record);
extern size_t meter_record_write(const MeterRecord *record, uint8 *bytes);
extern bool meter_record_read(const uint8 *bytes, size_t length,
							  MeterRecord *record);

/* How a sequence is written as text, at most. */
#define METER_SEQUENCE_SIZE	21

extern MeterAttr meter_sequence_write(int64 sequence, char *text);
extern bool meter_sequence_read(MeterAttr text, int64 *sequence);

extern char *meter_record_to_text(const MeterRecord *record, size_t *length);

/*
 * Read the message that a CloudEvent carries as bytes into an initialized
 * record.  Returns NULL, or what is wrong with it.
 */
typedef const char *(*MeterReadPayload) (const uint8 *bytes, size_t length,
										 MeterRecord *record);

/*
 * How texts are read: as records of which kind, and how messages in them are;
 * NULL: they are refused.
 */
typedef struct MeterTextOptions
{
	MeterRecordKind kind;
	MeterReadPayload read_payload;
} MeterTextOptions;

extern bool meter_record_from_text(const MeterTextOptions *options,
								   const char *text, size_t length,
								   MeterRecord *record,
								   MeterProblem *problem);

/*
 * Attributes.  What stands in a record is the canonical text of a JSON
 * object: one line without white space, keys in the order of their bytes.
 */
extern bool meter_attributes_from_json(MeterRecordKind kind,
									   const char *text, size_t length,
									   MeterAttr *attributes,
									   MeterProblem *problem);
extern bool meter_attributes_next(MeterAttr attributes, int32 *at,
								  MeterAttr *key, MeterAttr *value);
extern bool meter_attributes_find(MeterAttr attributes, MeterAttr name,
								  MeterAttr *value);
extern MeterAttr meter_json_text(MeterAttr value);

#endif							/* METER_RECORD_H */
