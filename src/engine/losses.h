/*
 * losses.h
 *	  What a restore may have lost of logs and ledger.
 */
#ifndef METER_LOSSES_H
#define METER_LOSSES_H

#include "catalog/definition.h"
#include "catalog/progress.h"

extern void meter_refuse_empty_log(const MeterDefinition *definition,
								   const MeterProgress *progress);
extern void meter_check_log(const MeterDefinition *definition,
							const MeterProgress *progress);
extern void meter_check_ledger(const MeterDefinition *definition,
							   const MeterProgress *progress);
extern void meter_check_sealed(const char *stream);
extern void meter_accept_log(const MeterDefinition *definition,
							 MeterProgress *progress);
extern bool meter_accept_ledger(const MeterDefinition *definition,
								const MeterProgress *progress);

#endif							/* METER_LOSSES_H */
