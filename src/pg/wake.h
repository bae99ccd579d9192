/*
 * wake.h
 *	  Waking the launcher once a transaction has committed.
 */
#ifndef METER_WAKE_H
#define METER_WAKE_H

extern void meter_worker_wake(void);

#endif							/* METER_WAKE_H */
