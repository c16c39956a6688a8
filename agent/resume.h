/* A command of an earlier life, from its row in the journal. */
#ifndef AGENT_RESUME_H
#define AGENT_RESUME_H

#include "agent/command.h"
#include "agent/journal.h"
#include "base/problems.h"

/* Never NULL. One that was executed, or that the disk has changed, is DONE; problems are those of
 * command_new. The row is borrowed. */
struct command *resume_command(const struct journal_row *row, struct problems *problems);

#endif
