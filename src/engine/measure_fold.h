/*
 * measure_fold.h
 *	  Usage of measures, in the fold.
 */
#ifndef METER_MEASURE_FOLD_H
#define METER_MEASURE_FOLD_H

#include "engine/fold.h"
#include "engine/measure_walk.h"

extern void meter_measure_fold_trace(MeterFold *fold,
									 MeterMeasureTrace trace);
extern void meter_measure_fold_increases(MeterFold *fold,
										 MeterMeasureIncrease increase);

#endif							/* METER_MEASURE_FOLD_H */
