/*
 * attr.h
 *	  Attributes of the core as texts of the server.
 */
#ifndef METER_ATTR_H
#define METER_ATTR_H

#include "core/core.h"

extern MeterAttr meter_attr_from_text(Datum string);
extern MeterAttr meter_attr_from_cstring(const char *string);
extern Datum meter_text_from_attr(MeterAttr attr);
extern Datum meter_fetch(Datum value);

#endif							/* METER_ATTR_H */
