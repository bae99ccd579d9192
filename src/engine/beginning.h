/*
 * beginning.h
 *	  The beginning of a meter: its earliest usage, and its first watermark.
 */
#ifndef METER_BEGINNING_H
#define METER_BEGINNING_H

#include "catalog/definition.h"
#include "catalog/progress.h"

extern char *meter_earliest_instant(const MeterDefinition *definition);
extern bool meter_first_watermark(const MeterDefinition *definition, MeterProgress *progress);

#endif							/* METER_BEGINNING_H */
