/*
 * fold.h
 *	  The fold: one pass from the logs and the carried states to expected usage
 *	  and new states.
 */
#ifndef METER_FOLD_H
#define METER_FOLD_H

#include "datatype/timestamp.h"
#include "executor/tuptable.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "core/timeline_builder.h"
#include "engine/account_resources.h"
#include "engine/collect.h"
#include "engine/events.h"
#include "engine/ledger.h"
#include "engine/quarantine.h"
#include "engine/resources.h"
#include "engine/row_kind.h"
#include "engine/states.h"
#include "engine/usage.h"
#include "engine/usage_rows.h"

struct Tuplesortstate;
typedef struct MeterFold MeterFold;

/*
 * The columns of a row in the order; those of dimensions follow.  Where a pass
 * has no states or no events, they follow earlier.
 */
typedef enum MeterFoldColumn
{
	/* what the order goes by stands where it is quick to get at */
	METER_FOLD_HASH,
	METER_FOLD_CLASS,			/* MeterFoldClass */
	METER_FOLD_TIME,			/* queries give the columns from here on; of a
								 * state: since */
	METER_FOLD_KIND,
	METER_FOLD_RESOURCE,
	METER_FOLD_ACCOUNT,
	METER_FOLD_VALUE,
	METER_FOLD_SOURCE,
	METER_FOLD_SAID,			/* of an observation */
	METER_FOLD_SEQUENCE,		/* of an event */
	METER_FOLD_ARRIVAL,
	METER_FOLD_ENTITY,			/* of measures and names, for measures */
	METER_FOLD_ALIVE,			/* of a state, from here on */
	METER_FOLD_ABSENT,
	METER_FOLD_STARTED,
	METER_FOLD_HOLDER,
	METER_FOLD_CHANGED,
	METER_FOLD_ENDED,
	METER_FOLD_SIGN,
	METER_FOLD_GAPS,
	METER_FOLD_BILLED,
	METER_FOLD_NCOLUMNS
} MeterFoldColumn;

/* Queries give the columns from this one on. */
#define METER_FOLD_FIRST	METER_FOLD_TIME

/* Of an event, a query gives the columns before this one. */
#define METER_FOLD_NEVENT	METER_FOLD_ALIVE

/* Of a measure, those before this one. */
#define METER_FOLD_NMEASURE	METER_FOLD_STARTED

/* What looks back comes before a resource's other rows. */
typedef enum MeterFoldClass
{
	METER_FOLD_ASKED = 'a',		/* the resource is asked for */
	METER_FOLD_CARRIED = 'b',	/* its state at the retention boundary */
	METER_FOLD_OBSERVED = 'c',
	METER_FOLD_HAPPENED = 'd'
} MeterFoldClass;

/*
 * Who looks on while resources are walked: at each row, at each resource's end,
 * or at its timeline, which then has to be in memory as a whole.  Without the
 * last, nothing is made of events.  Any may be NULL.
 */
typedef struct MeterLook
{
	void		(*row) (MeterFold *fold, MeterRowKind kind, TimestampTz time,
						const TupleTableSlot *slot);
	void		(*end) (MeterFold *fold);
	void		(*timeline) (MeterFold *fold, MeterCollected *collected,
							 MeterTimeline *timeline);
} MeterLook;

/* What passes did; times in microseconds. */
typedef struct MeterFoldCount
{
	int64		rows;			/* of the logs */
	int64		scan_time;
	int64		sorted_bytes;	/* the most that a sort took */
	bool		sorted_on_disk;
	int64		sort_time;
	int64		resources;		/* walked */
	int64		states;			/* read */
	int64		walk_time;		/* with what is written on the way */
	int64		usage_rows;		/* written */
	int64		usage_bytes;
	int64		states_written;
	int64		write_time;		/* of what was left */
} MeterFoldCount;

/* As numbers, so many. */
#define METER_FOLD_NCOUNTS	12

/* What becomes of a resource whose walk raises an error that is about it. */
typedef enum MeterFoldFailure
{
	METER_FOLD_LEAVES_OUT,		/* the pass goes on without it, and warns */
	METER_FOLD_SETS_ASIDE,		/* so do all passes from then on */
	METER_FOLD_TRIES,			/* the caller undoes the pass; what is set
								 * aside is walked, too */
	METER_FOLD_RAISES			/* the pass fails; the same */
} MeterFoldFailure;

/* Usage that was given out by the walk of a resource that has not ended. */
typedef struct MeterStagedRow
{
	MeterUsageRow row;
	struct MeterStagedRow *next;
} MeterStagedRow;

/* One pass: what is asked for, what is done with it, and how far it is. */
struct MeterFold
{
	const MeterDefinition *definition;
	const MeterProgress *progress;
	const MeterUsage *usage;
	MeterUsageSpec *spec;
	MemoryContext context;

	/* what is asked for */
	TimestampTz from;			/* usage from then on */
	TimestampTz to;				/* and before then */
	TimestampTz ledger_to;		/* what the ledger has from `to` up to here
								 * should not be there */
	bool		carried;		/* begin with the states at `from`, not with
								 * what happened before */
	bool		at_boundary;	/* what is known at the retention boundary is
								 * asked for */
	bool		own_snapshot;	/* see what there is now, and what was written
								 * before; not what the query sees */
	MeterScope	scope;			/* of events */
	MeterPlaces measure_places; /* where measures of the resources are */
	int64		measures_safe;	/* as `safe` of the scope, of measures */
	const MeterResources *asked;	/* each from its instant on; NULL: all */
	MeterResources *only;		/* these alone, in the order of the walk, and
								 * from states on; NULL: all */
	const char *more_rows;		/* a query of more events; or NULL */
	MeterFoldFailure failure;
	bool		anonymous;		/* warnings name no resources */

	/* what becomes of it */
	MeterLedger *ledger;		/* NULL: see emit */
	void		(*emit) (MeterFold *fold, const MeterUsageRow *row);
	void		(*take_back) (MeterFold *fold); /* what was emitted of the
												 * resource; or NULL */
	void	   *emit_arg;
	MeterStates *states;		/* NULL: neither read nor written */
	bool		writes_states;
	MeterAccounts *accounts;	/* whose resources are; NULL: not noted */
	MeterStateCounts *counts;	/* of the meter's states, brought up to date;
								 * NULL: nobody counts */
	MeterStates *kept;			/* states to begin with, and new ones; NULL:
								 * neither read nor written */
	TimestampTz keep_from;		/* new ones are kept from then on */
	MeterResources *named;		/* those whose first name came; NULL: not
								 * asked for */
	MeterResources *behind;		/* those of which a run begins so far before
								 * the carried state that all of it has to be
								 * walked; NULL: not asked for */
	MeterResources *walked;		/* those that were asked for, each with the
								 * time that was computed */
	const MeterLook *look;		/* who looks on, or NULL */
	void	   *look_arg;

	/* the order */
	int			natts;
	int64		rows;			/* in it */
	int			first_dimension;	/* its column */
	TupleDesc	descriptor;
	struct Tuplesortstate *sort;
	TupleTableSlot *put;

	/* the resource at hand */
	MemoryContext resource_context;
	MemoryContext row_context;	/* of a row that is read or given out */
	MeterAttr	resource;
	uint64		hash;
	const MeterCarried *state;
	bool		has_row;		/* the slot of the order has a row */
	const MeterResource *affected;	/* as it is asked for; NULL: it is not */
	MemoryContext walk_context; /* of what the usage's walk keeps of it, if
								 * that is not the context above */
	void	   *walk;			/* the usage's own */
	bool		observed;		/* there were observations */

	/* what is set aside, and usage that may have to be taken back */
	MeterQuarantine *quarantine;
	MemoryContext staged_context;
	MeterStagedRow *staged;
	MeterStagedRow **staged_end;
	Size		staged_bytes;
};

extern MeterFold *meter_fold_begin(const MeterUsage *usage,
								   const MeterDefinition *definition,
								   const MeterProgress *progress);
extern void meter_fold_scan(MeterFold *fold, const char *sql, int nargs,
							const Oid *types, const Datum *values,
							int upto);
extern bool meter_fold_has_boundary(const MeterFold *fold);
extern void meter_fold_find_places(MeterFold *fold);
extern void meter_fold_run(MeterFold *fold);
extern MeterFoldClass meter_fold_class(const MeterFold *fold,
									   MeterRowKind kind);
extern void meter_fold_pause(void);
extern void meter_fold_go_on(void);
extern void meter_fold_count_anew(void);
extern MeterFoldCount *meter_fold_count(void);
extern void meter_fold_count_tell(int64 *numbers);
extern void meter_fold_count_add(const int64 *numbers);
extern int64 meter_fold_clock(void);
extern void meter_fold_look(MeterFold *fold, MeterRowKind kind,
							TimestampTz time, const TupleTableSlot *slot);
extern void meter_fold_emit(MeterFold *fold, const MeterUsageRow *row);
extern void meter_fold_drop(MeterFold *fold);
extern void meter_fold_end(MeterFold *fold);
extern MeterAttr meter_fold_text(const TupleTableSlot *slot, int column);
extern TimestampTz meter_fold_instant(const TupleTableSlot *slot, int column,
									  TimestampTz none);

#endif							/* METER_FOLD_H */
