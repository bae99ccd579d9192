/*
 * palloc.c
 *	  palloc for the pure core in a plain program: the C library's, with the
 *	  server's limit on one allocation, and the end of the program where the
 *	  server would raise an error.  It knows how much is in use.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "unit.h"

#define MAX_ALLOC	((size_t) 0x3fffffff)

size_t		memory_in_use;
size_t		memory_peak;

static void *
checked(void *pointer, size_t size)
{
	if (pointer == NULL || size > MAX_ALLOC)
	{
		fprintf(stderr, "allocation of %zu bytes refused\n", size);
		abort();
	}
	memory_in_use += malloc_usable_size(pointer);
	memory_peak = Max(memory_peak, memory_in_use);
	return pointer;
}

void *
palloc(size_t size)
{
	return checked(malloc(size > 0 ? size : 1), size);
}

void *
palloc0(size_t size)
{
	return memset(palloc(size), 0, size);
}

void *
repalloc(void *pointer, size_t size)
{
	memory_in_use -= malloc_usable_size(pointer);
	return checked(realloc(pointer, size > 0 ? size : 1), size);
}

void
pfree(void *pointer)
{
	memory_in_use -= malloc_usable_size(pointer);
	free(pointer);
}
