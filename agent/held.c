#include "agent/held.h"

#include <string.h>

void held_add(struct held *held, struct command *command)
{
	HASH_ADD_KEYPTR(held_link, held->first, command->id, strlen(command->id), command);
}

void held_remove(struct held *held, struct command *command)
{
	HASH_DELETE(held_link, held->first, command);
}

struct command *held_find(const struct held *held, const char *id)
{
	struct command *command;
	HASH_FIND(held_link, held->first, id, strlen(id), command);
	return command;
}

size_t held_count(const struct held *held)
{
	return HASH_CNT(held_link, held->first);
}

struct command *held_first(const struct held *held)
{
	return held->first;
}

struct command *held_next(const struct command *command)
{
	return command->held_link.next;
}
