/*
 * shared_memory.h
 *	  What all processes of the server share.
 */
#ifndef METER_SHARED_MEMORY_H
#define METER_SHARED_MEMORY_H

#include "storage/lwlock.h"

extern void meter_share(const char *name, const char *tranche, Size size,
						void **memory);
extern void meter_shared_memory_request(void);

#endif							/* METER_SHARED_MEMORY_H */
