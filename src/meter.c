/*
 * meter.c
 *	  The module: its magic, and what is set up when it is loaded.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "commands/inbox.h"
#include "pg/meter_compat.h"
#include "pg/now.h"
#include "pg/settings.h"
#include "types/record.h"
#include "worker/worker.h"

METER_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

/* Called by the server when it loads the library. */
void
_PG_init(void)
{
	meter_settings_init();
	meter_now_init();
	meter_records_settings_init();
	meter_inbox_init();
	meter_worker_init();
	MarkGUCPrefixReserved("meter");
}
