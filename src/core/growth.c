/*
 * growth.c
 *	  Memory of what grows with a resource.
 *
 * A resource of a producer can be as large as the producer likes.  So whoever
 * walks it can count what it takes, before memory is asked for.
 */
#include "core/core.h"

/* Is told of each growth; NULL: nobody counts. */
void		(*meter_before_growth) (size_t size) = NULL;

/* Tell that so many bytes are about to be asked for. */
void
meter_ask_growth(size_t size)
{
	if (meter_before_growth != NULL)
		meter_before_growth(size);
}

/* Give an array, which may be NULL, another size. */
void *
meter_grow(void *array, size_t size)
{
	meter_ask_growth(size);
	return array == NULL ? palloc(size) : repalloc(array, size);
}
