/*
 * upgrade.c
 *	  Brings streams that an older version made to the shape of this one.
 *
 * What the list of shape.c has more than a stream is made: tables, columns,
 * guards, indexes; functions and views are made anew.  What that cannot do is a
 * step of its own here, for each shape from one to the next.
 *
 * ALTER EXTENSION meter UPDATE runs scripts that end with
 * meter_internal.upgrade_streams().
 */
#include "postgres.h"

#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "catalog/definition.h"
#include "catalog/shape.h"
#include "catalog/stream.h"
#include "commands/access.h"
#include "commands/create_stream.h"
#include "commands/distribute.h"
#include "log/month.h"
#include "pg/arguments.h"
#include "pg/spi.h"

/* Brings a stream from one shape to the next, before what it lacks is made. */
typedef void (*UpgradeStep) (const char *stream);

/* The first is from shape 1 to shape 2; NULL: nothing but what the list has. */
static const UpgradeStep upgrade_steps[METER_SHAPE] = {
	NULL
};

/* Run the steps that a stream lacks, and make what it lacks. */
static void
upgrade(const char *stream, int shape)
{
	MeterSession session;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(stream)};

	meter_lock_all(stream);
	meter_session_begin(&session, meter_stream_owner(stream));
	for (; shape < METER_SHAPE; shape++)
	{
		if (shape > 0 && upgrade_steps[shape - 1] != NULL)
			upgrade_steps[shape - 1] (stream);
	}
	meter_complete_stream(stream);
	meter_guard_months(stream);
	if (meter_stream_shards(stream) > 0)
		meter_distribute_new_tables(stream);
	meter_session_end(&session);

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("UPDATE meter.stream SET shape = " CppAsString2(METER_SHAPE) " WHERE name = $1",
						 SPI_OK_UPDATE, lengthof(types), types, values, NULL);
	meter_session_end(&session);
	meter_make_views(stream);
}

/* Bring a stream to the shape of this version.  Returns whether it was older. */
static bool
upgrade_stream(const char *stream)
{
	int			shape = meter_stream_shape(stream);

	if (shape > METER_SHAPE)
		meter_check_shape(stream);	/* raises an error */
	if (shape == METER_SHAPE)
		return false;
	upgrade(stream, shape);
	return true;
}

PG_FUNCTION_INFO_V1(meter_upgrade_stream);

/* upgrade_stream(stream) */
Datum
meter_upgrade_stream(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");

	PreventCommandIfReadOnly("meter.upgrade_stream()");
	meter_check_stream_permission(stream);
	PG_RETURN_BOOL(upgrade_stream(stream));
}

/* Upgrade all streams.  Returns how many there were to upgrade. */
static int64
upgrade_streams(void)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	List	   *streams = NIL;
	ListCell   *cell;
	int64		count = 0;
	uint64		i;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute("SELECT name FROM meter.stream s WHERE shape < " CppAsString2(METER_SHAPE)
	/* of one that was dropped nothing is to be upgraded */
				  " AND EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = s.name) ORDER BY name", SPI_OK_SELECT);
	MemoryContextSwitchTo(context);
	for (i = 0; i < SPI_processed; i++)
		streams = lappend(streams, meter_result_text(i, 1));
	meter_session_end(&session);
	foreach(cell, streams)
		count += upgrade_stream(lfirst(cell));
	return count;
}

PG_FUNCTION_INFO_V1(meter_upgrade_streams);

/*
 * upgrade_streams(): what is made within a script of the extension would belong
 * to the extension, and be in no dump.
 */
Datum
meter_upgrade_streams(PG_FUNCTION_ARGS pg_attribute_unused())
{
	bool		creating = creating_extension;
	volatile int64 count = 0;

	creating_extension = false;
	PG_TRY();
	{
		count = upgrade_streams();
	}
	PG_FINALLY();
	{
		creating_extension = creating;
	}
	PG_END_TRY();
	PG_RETURN_INT64(count);
}
