/*
 * shared_memory.c
 *	  What all processes of the server share: areas of memory, each with a lock.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "pg/meter_compat.h"
#include "pg/shared_memory.h"

#define MOST_AREAS 4

typedef struct Area
{
	const char *name;
	const char *tranche;		/* of its lock, as wait events show it */
	Size		size;
	void	  **memory;			/* where a process keeps where it is */
} Area;

static Area areas[MOST_AREAS];
static int	nareas = 0;
static shmem_request_hook_type previous_shmem_request = NULL;
static shmem_startup_hook_type previous_shmem_startup = NULL;

/* Asks for the memory and the locks. */
static void
request_memory(void)
{
	int			i;

	if (previous_shmem_request != NULL)
		previous_shmem_request();
	for (i = 0; i < nareas; i++)
	{
		RequestAddinShmemSpace(MAXALIGN(areas[i].size));
		RequestNamedLWLockTranche(areas[i].tranche, 1);
	}
}

/* Makes the areas, or finds them.  After a crash they are made again. */
static void
attach_memory(void)
{
	int			i;

	if (previous_shmem_startup != NULL)
		previous_shmem_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (i = 0; i < nareas; i++)
	{
		bool		found;
		void	   *memory = ShmemInitStruct(areas[i].name, areas[i].size,
											 &found);

		if (!found)
		{
			memset(memory, 0, areas[i].size);
			*(LWLock **) memory =
				&(GetNamedLWLockTranche(areas[i].tranche))->lock;
		}
		*areas[i].memory = memory;
	}
	LWLockRelease(AddinShmemInitLock);
}

/*
 * Names an area, all zeros first, which begins with a pointer to its lock.
 * *memory says where it is, once it is there.
 */
void
meter_share(const char *name, const char *tranche, Size size, void **memory)
{
	Assert(nareas < MOST_AREAS);
	areas[nareas].name = name;
	areas[nareas].tranche = tranche;
	areas[nareas].size = size;
	areas[nareas].memory = memory;
	nareas++;
}

/*
 * Arranges for the areas that were named to exist; only while libraries are
 * preloaded.
 */
void
meter_shared_memory_request(void)
{
	METER_CHAIN_SHMEM_REQUEST(previous_shmem_request, request_memory);
	previous_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = attach_memory;
}
