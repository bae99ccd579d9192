/*
 * textform.h
 *	  Timelines as text that people read and write.
 */
#ifndef METER_TEXTFORM_H
#define METER_TEXTFORM_H

#include "core/core.h"
#include "core/timeline_builder.h"

extern char *meter_timeline_to_text(const MeterTimeline *timeline,
									size_t *length);
extern MeterTimeline *meter_timeline_from_text(const char *text, size_t length,
											   const char **problem,
											   size_t *position);

#endif							/* METER_TEXTFORM_H */
