/*
 * measure_owners.c
 *	  Who owns a resource, for its measures: of a meter without an entity each
 *	  kind of thing that the resource's name stands for has owners of its own.
 *
 * A chain has the owners to measures of an entity, in order: what the names of
 * that entity and those without one say, each instant by the rule of the core.
 * The owners to measures without an entity are what all names say.  An entity
 * that no name has is as one whose names are those without an entity.
 *
 * Texts are kept once each, so that owners whose name is the same one have the
 * same pointer.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "core/event_set.h"
#include "core/owners.h"
#include "engine/measure_owners.h"

/* Who owns the resource from an instant on. */
typedef struct Owner
{
	TimestampTz since;
	MeterAttr	account;
} Owner;

struct MeterOwnerChain
{
	MeterAttr	entity;
	MeterOwner	owner;			/* at the last instant */
	MeterAttr	now;			/* kept here */
	Owner	   *list;			/* ascending */
	int64		count;
	int64		size;
	int64		asked;			/* the one that was asked for last */
	TimestampTz ran;			/* the instant whose names it has */
	bool		marked;			/* usage was billed to nobody, for want of an
								 * owner */
	MeterOwnerChain *next;
};

/* An entry of the hash table of texts. */
typedef struct KeptText
{
	MeterAttr	text;
	MeterOwnerChain *chain;		/* of the entity of that name, or NULL */
	uint32		hash;
	char		status;
} KeptText;

#define SH_PREFIX kept
#define SH_ELEMENT_TYPE KeptText
#define SH_KEY_TYPE MeterAttr
#define SH_KEY text
#define SH_HASH_KEY(table, key) \
	hash_bytes((const unsigned char *) (key).data, (key).len)
#define SH_EQUAL(table, a, b) meter_attr_equal(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) (entry)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct MeterOwners
{
	MemoryContext context;
	bool		by_entity;
	kept_hash  *texts;
	MeterOwnerChain all;		/* to measures without an entity */
	MeterOwnerChain others;		/* to those of entities without a chain */
	MeterOwnerChain *chains;	/* of entities */
	MeterName  *names;			/* of the instant at hand */
	int64		nnames;
	int64		maxnames;
	TimestampTz unnamed_since;	/* DT_NOEND: nothing was billed to nobody */
	bool		has_named;		/* what was not named, and billed, is now */
	MeterOwnerChain *asked;		/* that of the entity asked for last, or NULL */
};

/* Begin a resource, all of which lies in a memory context. */
MeterOwners *
meter_owners_begin(MemoryContext context, bool by_entity)
{
	MeterOwners *owners = MemoryContextAllocZero(context, sizeof(*owners));

	owners->context = context;
	owners->by_entity = by_entity;
	owners->all.now = owners->others.now = METER_NULL_ATTR;
	meter_owner_begin(&owners->all.owner, &owners->all.now);
	meter_owner_begin(&owners->others.owner, &owners->others.now);
	owners->all.ran = owners->others.ran = DT_NOBEGIN;
	owners->unnamed_since = DT_NOEND;
	return owners;
}

/* Return the entry of a text, kept once. */
static KeptText *
keep_text(MeterOwners *owners, MeterAttr text)
{
	KeptText   *entry;
	bool		found;

	if (owners->texts == NULL)
		owners->texts = kept_create(owners->context, 8, NULL);
	entry = kept_insert(owners->texts, text, &found);
	if (!found)
	{
		char	   *copy;

		meter_ask_growth(text.len);
		copy = MemoryContextAlloc(owners->context, Max(text.len, 1));
		if (text.len > 0)
			memcpy(copy, text.data, text.len);
		entry->text = meter_attr(copy, text.len);
		entry->chain = NULL;
	}
	return entry;
}

/* Return a text, kept once; NULL stays NULL. */
static MeterAttr
keep(MeterOwners *owners, MeterAttr text)
{
	return MeterAttrIsNull(text) ? text : keep_text(owners, text)->text;
}

/* Add an owner from an instant on, which is not before those that there are. */
static void
add_owner(MeterOwners *owners, MeterOwnerChain *chain, TimestampTz since,
		  MeterAttr account)
{
	if (chain->count > 0 &&
		chain->list[chain->count - 1].account.data == account.data)
		return;
	if (chain->count == chain->size)
	{
		chain->size = Max(8, 2 * chain->size);
		meter_ask_growth(chain->size * sizeof(Owner));
		chain->list = chain->list == NULL ?
			MemoryContextAlloc(owners->context, chain->size * sizeof(Owner)) :
			repalloc_huge(chain->list, chain->size * sizeof(Owner));
	}
	chain->list[chain->count].since = since;
	chain->list[chain->count++].account = account;
}

/* Return the chain of an entity, or NULL. */
static MeterOwnerChain *
find_chain(MeterOwners *owners, MeterAttr entity)
{
	KeptText   *entry = owners->texts == NULL ? NULL :
	kept_lookup(owners->texts, entity);

	return entry == NULL ? NULL : entry->chain;
}

/* Return the chain of an entity, which may begin now as all others. */
static MeterOwnerChain *
open_chain(MeterOwners *owners, MeterAttr entity)
{
	KeptText   *entry = keep_text(owners, entity);
	MeterOwnerChain *chain = entry->chain;
	int64		i;

	if (chain != NULL)
		return chain;
	meter_ask_growth(sizeof(MeterOwnerChain));
	chain = MemoryContextAllocZero(owners->context, sizeof(MeterOwnerChain));
	chain->entity = entry->text;
	chain->now = owners->others.now;
	meter_owner_begin(&chain->owner, &chain->now);
	chain->ran = DT_NOBEGIN;
	for (i = 0; i < owners->others.count; i++)
		add_owner(owners, chain, owners->others.list[i].since,
				  owners->others.list[i].account);
	chain->next = owners->chains;
	owners->chains = chain;
	entry->chain = chain;
	owners->asked = NULL;
	return chain;
}

/* Have a chain begin with an owner. */
static void
carry_owner(MeterOwners *owners, MeterOwnerChain *chain, MeterAttr account)
{
	chain->count = 0;
	chain->now = keep(owners, account);
	if (!MeterAttrIsNull(account))
		add_owner(owners, chain, DT_NOBEGIN, chain->now);
}

/* Return a text of a jsonb, or NULL. */
static MeterAttr
text_of(const JsonbValue *value)
{
	return value->type == jbvString ?
		meter_attr(value->val.string.val, value->val.string.len) :
		METER_NULL_ATTR;
}

/*
 * Take what is known of entities: their owners, or only where usage was billed
 * to nobody and still is.
 */
static void
take_known(MeterOwners *owners, Datum known, bool marks_only)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	MeterAttr	entity = METER_NULL_ATTR;
	bool		others;

	/* first the others, which chains begin with */
	for (others = !marks_only;; others = false)
	{
		iterator = JsonbIteratorInit(&DatumGetJsonbP(known)->root);
		while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		{
			if (token == WJB_KEY)
				entity = text_of(&value);
			if (token != WJB_VALUE || (entity.len == 0) != others)
				continue;
			if (others)
				carry_owner(owners, &owners->others, text_of(&value));
			else if (value.type == jbvNull)
			{
				MeterOwnerChain *chain = open_chain(owners, entity);

				if (!marks_only)
					carry_owner(owners, chain, METER_NULL_ATTR);
				chain->marked |= chain->count == 0;
			}
			else if (!marks_only)
				carry_owner(owners, open_chain(owners, entity),
							text_of(&value));
		}
		if (!others)
			break;
	}
}

/*
 * Begin with what is carried: the owner to measures without an entity, and the
 * others (0: there are none).
 */
void
meter_owners_carry(MeterOwners *owners, MeterAttr account, Datum known)
{
	carry_owner(owners, &owners->all, account);
	if (owners->by_entity && known != (Datum) 0)
		take_known(owners, known, false);
}

/* Order the names of an instant as they take effect. */
static int
name_cmp(const void *a, const void *b)
{
	const MeterName *x = a;
	const MeterName *y = b;

	if (x->observed != y->observed)
		return x->observed ? 1 : -1;
	if (x->observed)
		return meter_attr_cmp(x->source, y->source);
	if (x->sequenced != y->sequenced)
		return x->sequenced ? 1 : -1;
	return x->sequence == y->sequence ? 0 : x->sequence < y->sequence ? -1 : 1;
}

/* Let the names [from, to) take effect that are about a chain, as one. */
static void
name_chain(MeterOwners *owners, MeterOwnerChain *chain, int64 from, int64 to)
{
	MeterAttr	greatest = METER_NULL_ATTR;
	bool		first = MeterAttrIsNull(chain->now);
	int64		i;

	for (i = from; i < to; i++)
	{
		const MeterName *name = &owners->names[i];

		if (chain == &owners->all || MeterAttrIsNull(name->entity) ||
			name->entity.data == chain->entity.data)
			greatest = meter_owner_greater(greatest, name->name);
	}
	if (owners->names[from].observed &&
		meter_owner_agrees(&chain->owner, greatest))
		return;
	if (!meter_owner_name(&chain->owner, greatest) || !first)
		return;
	/* who is named first owns the time before */
	add_owner(owners, chain, DT_NOBEGIN, chain->now);
	owners->has_named |= chain->marked;
	chain->marked = false;
}

/* Let the names of the instant take effect in a chain. */
static void
run_chain(MeterOwners *owners, MeterOwnerChain *chain)
{
	const MeterName *names = owners->names;
	int64		from;
	int64		to;

	CHECK_FOR_INTERRUPTS();
	if (chain->ran == names[0].time)
		return;
	chain->ran = names[0].time;
	meter_owner_instant(&chain->owner, names[owners->nnames - 1].observed);
	for (from = 0; from < owners->nnames; from = to)
	{
		for (to = from + 1; to < owners->nnames &&
			 name_cmp(&names[from], &names[to]) == 0; to++)
			;
		name_chain(owners, chain, from, to);
	}
	if (!MeterAttrIsNull(chain->now))
		add_owner(owners, chain, names[0].time, chain->now);
}

/* Let the names of the instant at hand take effect. */
static void
end_instant(MeterOwners *owners)
{
	MeterOwnerChain *chain;
	bool		of_all = false;
	int64		i;

	if (owners->nnames == 0)
		return;
	if (owners->nnames > 1)
		qsort(owners->names, owners->nnames, sizeof(MeterName), name_cmp);
	run_chain(owners, &owners->all);
	for (i = 0; owners->by_entity && i < owners->nnames; i++)
	{
		of_all |= MeterAttrIsNull(owners->names[i].entity);
		if (!MeterAttrIsNull(owners->names[i].entity))
			(void) open_chain(owners, owners->names[i].entity);
	}
	if (of_all)
	{
		for (chain = owners->chains; chain != NULL; chain = chain->next)
			run_chain(owners, chain);
		run_chain(owners, &owners->others);
	}
	for (i = 0; owners->by_entity && !of_all && i < owners->nnames; i++)
		run_chain(owners, open_chain(owners, owners->names[i].entity));
	owners->nnames = 0;
}

/*
 * Let the greatest of names of one place count: the one before is looked at,
 * since bad data has instants of thousands of events.  Returns false if it is
 * of another place.
 */
static bool
merge_name(MeterOwners *owners, const MeterName *name)
{
	MeterName  *before = &owners->names[owners->nnames - 1];

	if (owners->nnames == 0 || name_cmp(name, before) != 0 ||
		(owners->by_entity && !meter_attr_equal(name->entity, before->entity)))
		return false;
	if (meter_attr_cmp(before->name, name->name) < 0)
		before->name = keep(owners, name->name);
	return true;
}

/* Take a name, whose instant is not before those of calls before. */
void
meter_owners_take(MeterOwners *owners, const MeterName *name)
{
	MeterName  *taken;

	CHECK_FOR_INTERRUPTS();
	if (owners->nnames > 0 && owners->names[0].time != name->time)
		end_instant(owners);
	if (merge_name(owners, name))
		return;
	if (owners->nnames == owners->maxnames)
	{
		owners->maxnames = Max(8, 2 * owners->maxnames);
		meter_ask_growth(owners->maxnames * sizeof(MeterName));
		owners->names = owners->names == NULL ?
			MemoryContextAlloc(owners->context,
							   owners->maxnames * sizeof(MeterName)) :
			repalloc_huge(owners->names, owners->maxnames * sizeof(MeterName));
	}
	taken = &owners->names[owners->nnames++];
	*taken = *name;
	taken->source = name->observed ? keep(owners, name->source) :
		METER_NULL_ATTR;
	taken->entity = owners->by_entity ? keep(owners, name->entity) :
		METER_NULL_ATTR;
	taken->name = keep(owners, name->name);
}

/* End the names. */
void
meter_owners_end(MeterOwners *owners)
{
	end_instant(owners);
}

/* Return the owners to measures of an entity, or NULL. */
MeterOwnerChain *
meter_owners_of(MeterOwners *owners, MeterAttr entity)
{
	MeterOwnerChain *chain;

	if (!owners->by_entity || MeterAttrIsNull(entity))
		return &owners->all;
	if (owners->asked != NULL &&
		meter_attr_equal(owners->asked->entity, entity))
		return owners->asked;
	chain = find_chain(owners, entity);
	if (chain == NULL)
		return &owners->others;
	owners->asked = chain;
	return chain;
}

/*
 * Return who owns the resource at an instant, and until when.  The time before
 * the first owner belongs to that owner.
 */
MeterAttr
meter_owners_at(MeterOwnerChain *chain, TimestampTz at, TimestampTz *until)
{
	const Owner *list = chain->list;
	int64		low = chain->asked;
	int64		high = chain->count;

	*until = DT_NOEND;
	if (high == 0)
		return meter_attr("", 0);
	if (list[low].since > at)
	{
		high = low;
		low = 0;
	}
	else if (low + 1 == high || list[low + 1].since > at)
		high = low + 1;

	/* the last one from which on it is not before `at`, else the first */
	while (high - low > 1)
	{
		int64		middle = low + (high - low) / 2;

		if (list[middle].since <= at)
			low = middle;
		else
			high = middle;
	}
	chain->asked = low;
	if (low + 1 < chain->count)
		*until = list[low + 1].since;
	return list[low].account;
}

/* Tell whether nothing says who ever owned the resource. */
bool
meter_owners_unknown(const MeterOwnerChain *chain)
{
	return chain->count == 0;
}

/*
 * Note that usage of an entity from an instant on is billed to nobody, as its
 * owner is unknown.
 */
void
meter_owners_bill_nobody(MeterOwners *owners, MeterAttr entity,
						 TimestampTz since)
{
	owners->unnamed_since = Min(owners->unnamed_since, since);
	if (!owners->by_entity || MeterAttrIsNull(entity))
		owners->all.marked = true;
	else
		open_chain(owners, entity)->marked = true;
}

/* --- what is known at the end --------------------------------------------- */

/* Return the owner to measures without an entity; NULL: not named yet. */
MeterAttr
meter_owners_account(const MeterOwners *owners)
{
	return owners->all.now;
}

/* Push a key and its value into a jsonb object. */
static void
push(JsonbParseState **state, MeterAttr entity, MeterAttr account)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = (char *) entity.data;
	value.val.string.len = entity.len;
	(void) pushJsonbValue(state, WJB_KEY, &value);
	value.type = MeterAttrIsNull(account) ? jbvNull : jbvString;
	value.val.string.val = (char *) account.data;
	value.val.string.len = account.len;
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

/* Return what is known of entities as jsonb, or 0. */
Datum
meter_owners_known(const MeterOwners *owners)
{
	const MeterOwnerChain *chain;
	JsonbParseState *state = NULL;
	JsonbValue *object;
	bool		any = !MeterAttrIsNull(owners->others.now);

	if (!owners->by_entity)
		return (Datum) 0;
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push(&state, meter_attr("", 0), owners->others.now);
	for (chain = owners->chains; chain != NULL; chain = chain->next)
	{
		if (!chain->marked &&
			meter_attr_equal(chain->now, owners->others.now))
			continue;
		push(&state, chain->entity, chain->now);
		any = true;
	}
	object = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return any ? JsonbPGetDatum(JsonbValueToJsonb(object)) : (Datum) 0;
}

/*
 * Tell whether anything is still billed to nobody for want of an owner, and
 * since when that is known.
 */
bool
meter_owners_unnamed(const MeterOwners *owners, TimestampTz *since)
{
	const MeterOwnerChain *chain;
	bool		marked = owners->all.marked;

	*since = owners->unnamed_since;
	for (chain = owners->chains; chain != NULL && !marked; chain = chain->next)
		marked = chain->marked;
	return marked;
}

/*
 * Take over from what was known before that usage was billed to nobody, where
 * the owner is still unknown.
 */
void
meter_owners_still_unnamed(MeterOwners *owners, MeterAttr account, Datum known)
{
	owners->all.marked |= MeterAttrIsNull(account) && owners->all.count == 0;
	if (owners->by_entity && known != (Datum) 0)
		take_known(owners, known, true);
}

/* Tell whether a name was the first, where usage was billed to nobody before. */
bool
meter_owners_has_named(const MeterOwners *owners)
{
	return owners->has_named;
}
