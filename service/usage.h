/* Words of the command line that are no settings. */
#ifndef SERVICE_USAGE_H
#define SERVICE_USAGE_H

#include "base/problems.h"

#include <stdbool.h>

enum { USAGE_EXIT = 2 };

struct usage_word {
	const char *flag; /* NULL ends a list */
	const char **value;
};

/* --help, -h or help among the words before a "--". */
bool usage_wants_help(int argc, char **argv);
/* Takes "--flag" alone out of argv: was it there? */
bool usage_take_switch(int *argc, char **argv, const char *flag);
/* Takes "--flag VALUE" and "--flag=VALUE" out of argv. */
void usage_take(int *argc, char **argv, const struct usage_word *known, struct problems *problems);
/* A problem for each word from the first on. */
void usage_check_rest(int argc, char **argv, int first, struct problems *problems);
/* Prints all problems; true when there were any. Releases them. */
bool usage_report(struct problems *problems);

#endif
