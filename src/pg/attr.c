/*
 * attr.c
 *	  Attributes of the core as texts of the server.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "utils/builtins.h"

#include "core/core.h"
#include "pg/attr.h"

/* Return a text as an attribute, whose bytes are those of the text. */
MeterAttr
meter_attr_from_text(Datum string)
{
	text	   *value = DatumGetTextPP(string);

	return meter_attr(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/* Return a string as an attribute, whose bytes are those of the string. */
MeterAttr
meter_attr_from_cstring(const char *string)
{
	return meter_attr(string, (int32) strlen(string));
}

/* Return an attribute as a new text; NULL is the empty one. */
Datum
meter_text_from_attr(MeterAttr attr)
{
	return PointerGetDatum(cstring_to_text_with_len(attr.data,
													Max(attr.len, 0)));
}

/* Fetch a value that lies in another table, as it is stored there. */
Datum
meter_fetch(Datum value)
{
	return PointerGetDatum(detoast_external_attr((struct varlena *) DatumGetPointer(value)));
}
