/*
 * codec.h
 *	  Timelines as bytes: how they are stored, sent and handed on.
 */
#ifndef METER_CODEC_H
#define METER_CODEC_H

#include "core/core.h"
#include "core/timeline_builder.h"

extern size_t meter_encode_bound(const MeterTimeline *timeline);
extern size_t meter_encode(const MeterTimeline *timeline, uint8 *bytes);
extern MeterTimeline *meter_decode(const uint8 *bytes, size_t length,
								   const char **problem, size_t *position);

#endif							/* METER_CODEC_H */
