/*
 * worker.h
 *	  The background worker as the rest of the extension sees it: settings,
 *	  registration, and the wake that follows a commit.
 */
#ifndef METER_WORKER_H
#define METER_WORKER_H

#include "postmaster/bgworker.h"

#include "pg/worker_slot.h"

extern void meter_worker_init(void);
extern void meter_worker_describe(BackgroundWorker *worker,
								  const MeterSlotRef *slot);

#endif
