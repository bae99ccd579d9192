/*
 * sort_impl.h
 *	  A sort by an int64 key, in place, to be included once for each type.
 *
 * Before inclusion define SORT_NAME (the function), SORT_TYPE (the element)
 * and SORT_KEY(element).  Instants lie close to evenly, so elements are dealt
 * into as many buckets of equal width as give each a few, and each bucket is
 * sorted by insertion; one with too many is dealt again.  Each deal leaves at
 * least four bits less to look at, so no input is slow.  Not stable.
 */

#define SORT_INSERTION	32		/* so many or fewer are sorted by insertion */
#define SORT_MAX_BITS	10

/* Sort the first n elements. */
static void
SORT_NAME(SORT_TYPE *elements, uint32 n)
{
	uint32		ends[1 << SORT_MAX_BITS];
	uint32		heads[1 << SORT_MAX_BITS];
	int64		least;
	int64		greatest;
	uint32		nbuckets;
	uint32		sum = 0;
	uint32		i;
	int			bits = 4;
	int			shift = 0;

	if (n <= SORT_INSERTION)
	{
		for (i = 1; i < n; i++)
		{
			SORT_TYPE	element = elements[i];
			uint32		to = i;

			while (to > 0 && SORT_KEY(elements[to - 1]) > SORT_KEY(element))
			{
				elements[to] = elements[to - 1];
				to--;
			}
			elements[to] = element;
		}
		return;
	}

	least = greatest = SORT_KEY(elements[0]);
	for (i = 1; i < n; i++)
	{
		int64		key = SORT_KEY(elements[i]);

		least = Min(least, key);
		greatest = Max(greatest, key);
	}
	if (least == greatest)
		return;

	while (bits < SORT_MAX_BITS && (n >> bits) > 8)
		bits++;
	while ((((uint64) greatest - (uint64) least) >> shift) >> bits != 0)
		shift++;
	nbuckets = (uint32) ((((uint64) greatest - (uint64) least) >> shift) + 1);

#define SORT_BUCKET(element) \
	((uint32) (((uint64) SORT_KEY(element) - (uint64) least) >> shift))

	memset(ends, 0, nbuckets * sizeof(uint32));
	for (i = 0; i < n; i++)
		ends[SORT_BUCKET(elements[i])]++;
	for (i = 0; i < nbuckets; i++)
	{
		heads[i] = sum;
		sum += ends[i];
		ends[i] = sum;
	}

	/*
	 * deal: move each element to its bucket, and the one found there to its
	 * own
	 */
	for (i = 0; i < nbuckets; i++)
	{
		while (heads[i] < ends[i])
		{
			SORT_TYPE	element = elements[heads[i]];
			uint32		bucket = SORT_BUCKET(element);

			while (bucket != i)
			{
				uint32		to = heads[bucket]++;
				SORT_TYPE	other = elements[to];

				elements[to] = element;
				element = other;
				bucket = SORT_BUCKET(element);
			}
			elements[heads[i]++] = element;
		}
	}

	if (shift == 0)
		return;
	for (sum = 0, i = 0; i < nbuckets; sum = ends[i++])
	{
		if (ends[i] - sum > 1)
			SORT_NAME(elements + sum, ends[i] - sum);
	}
}

#undef SORT_BUCKET
#undef SORT_INSERTION
#undef SORT_MAX_BITS
#undef SORT_NAME
#undef SORT_TYPE
#undef SORT_KEY
