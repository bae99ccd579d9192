/*
 * palloc.c
 *	  palloc for fuzzers that go on for long in one process: all there is goes
 *	  when an input is done with, as with a memory context.
 */
#include <stdio.h>

#include "core/core.h"

#define MAX_ALLOC	((size_t) 0x3fffffff)

typedef struct Chunk
{
	struct Chunk *next;
	struct Chunk *before;
	size_t		padding[2];
} Chunk;

static Chunk all = {&all, &all, {0, 0}};

extern void fuzz_free_all(void);

static void *
link_chunk(Chunk *chunk, size_t size)
{
	if (chunk == NULL || size > MAX_ALLOC)
	{
		fprintf(stderr, "allocation of %zu bytes refused\n", size);
		abort();
	}
	chunk->next = all.next;
	chunk->before = &all;
	all.next->before = chunk;
	all.next = chunk;
	return chunk + 1;
}

static Chunk *
unlink_chunk(void *pointer)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;

	chunk->before->next = chunk->next;
	chunk->next->before = chunk->before;
	return chunk;
}

void *
palloc(size_t size)
{
	return link_chunk(malloc(sizeof(Chunk) + size), size);
}

void *
palloc0(size_t size)
{
	return memset(palloc(size), 0, size);
}

void *
repalloc(void *pointer, size_t size)
{
	return link_chunk(realloc(unlink_chunk(pointer), sizeof(Chunk) + size),
					  size);
}

void
pfree(void *pointer)
{
	free(unlink_chunk(pointer));
}

void
fuzz_free_all(void)
{
	while (all.next != &all)
		pfree(all.next + 1);
}
