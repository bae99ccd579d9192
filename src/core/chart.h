/*
 * chart.h
 *	  Drawing a timeline as a line of characters.
 */
#ifndef METER_CHART_H
#define METER_CHART_H

#include "core/core.h"
#include "core/timeline_builder.h"

/* A column of a chart: how much of its time the timeline was active. */
#define METER_CHART_NONE	'.'
#define METER_CHART_PART	'+'
#define METER_CHART_FULL	'#'

#define METER_CHART_WIDEST	1000

extern void meter_chart(const MeterTimeline *timeline, int64 from, int64 to,
						int32 width, char *line);

#endif							/* METER_CHART_H */
