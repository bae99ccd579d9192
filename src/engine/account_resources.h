/*
 * account_resources.h
 *	  Which resources each account owns, or once did.
 */
#ifndef METER_ACCOUNT_RESOURCES_H
#define METER_ACCOUNT_RESOURCES_H

#include "catalog/definition.h"
#include "core/core.h"
#include "engine/states.h"

typedef struct MeterAccounts MeterAccounts;

extern MeterAccounts *meter_accounts_begin(const MeterDefinition *definition);
extern void meter_accounts_renew(MeterAccounts *accounts);
extern void meter_accounts_note(MeterAccounts *accounts,
								const MeterCarried *before, uint64 hash,
								MeterAttr account);
extern void meter_accounts_note_known(MeterAccounts *accounts,
									  const MeterCarried *before, uint64 hash,
									  Datum owners);
extern void meter_accounts_end(MeterAccounts *accounts);
extern char *meter_account_resources(const char *stream, const char *meter,
									 Datum accounts);

#endif							/* METER_ACCOUNT_RESOURCES_H */
