/*
 * state_counts.c
 *	  How many carried states and readings a meter has: lost ones are noticed.
 *
 * A resource without a state is one that does not run, and a counter without a
 * reading begins anew.  So a state that is lost (its table was left out of a
 * dump, was unlogged when the server crashed, or was emptied) would end the
 * billing of its resource, in silence.  The catalog has how many were written:
 * whoever writes states brings that up to date in the same transaction, from
 * sums that are taken where they are written.  What reads all of them compares,
 * and so do meter.verify() and meter.resume(); meter.resettle() and
 * meter.rewind() write all states, and count them anew.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "engine/state_counts.h"
#include "pg/spi.h"

/* Count the states and readings that a meter has.  Within a session. */
void
meter_count_states(const MeterDefinition *definition, MeterStateCounts *found)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);

	meter_execute_row(psprintf("SELECT count(*), count(*) FILTER (WHERE active) FROM %s._resource_state WHERE meter = %s",
							   schema, meter));
	found->all = meter_result_count(1);
	found->running = meter_result_count(2);
	meter_execute_row(psprintf("SELECT count(*) FROM %s._counter_state WHERE meter = %s",
							   schema, meter));
	found->all += meter_result_count(1);
	found->running += meter_result_count(1);
}

/* Raise that states were lost. */
static void
raise_lost(const MeterDefinition *definition, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("carried states of meter \"%s\" of stream \"%s\" were lost or changed",
					definition->name, definition->stream),
			 errdetail_internal("%s", detail),
			 errhint("meter.resettle(%s, %s) computes them anew from the log, and corrects the ledger.",
					 quote_literal_cstr(definition->stream), quote_literal_cstr(definition->name))));
}

/* Raise an error unless there are as many states as were written. */
void
meter_compare_states(const MeterDefinition *definition,
					 const MeterStateCounts *written,
					 const MeterStateCounts *found)
{
	if (written->running == found->running && written->all == found->all)
		return;
	raise_lost(definition,
			   psprintf("Of " INT64_FORMAT " states " INT64_FORMAT " are there; of " INT64_FORMAT
						" that go on " INT64_FORMAT ".",
						written->all, found->all, written->running,
						found->running));
}

/* Count the states of a meter, and compare.  Within a session. */
void
meter_check_states(const MeterDefinition *definition,
				   const MeterProgress *progress)
{
	MeterStateCounts found;

	meter_count_states(definition, &found);
	meter_compare_states(definition, &progress->carried, &found);
}

/*
 * Check that not all of the states were lost, before a step looks up those that
 * it needs.  Within a session.
 */
void
meter_check_any_states(const MeterDefinition *definition,
					   const MeterProgress *progress)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	int64		readings = METER_OF_MEASURES(definition->aggregate) ?
	progress->carried.running : 0;
	int64		states = progress->carried.all - readings;
	bool		any_states;
	bool		any_readings;
	bool		isnull;

	if (progress->carried.all == 0)
		return;
	meter_execute_row(psprintf("SELECT EXISTS (SELECT FROM %s._resource_state WHERE meter = %s), "
							   "EXISTS (SELECT FROM %s._counter_state WHERE meter = %s)",
							   schema, meter, schema, meter));
	any_states = DatumGetBool(meter_result(0, 1, &isnull));
	any_readings = DatumGetBool(meter_result(0, 2, &isnull));
	if (states > 0 && !any_states)
		raise_lost(definition, psprintf("Table \"_resource_state\" has none of " INT64_FORMAT ".",
										states));
	if (readings > 0 && !any_readings)
		raise_lost(definition, psprintf("Table \"_counter_state\" has none of " INT64_FORMAT ".",
										readings));
}
