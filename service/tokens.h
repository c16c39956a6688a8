/* The verbs `token create`, `token list` and `token revoke`, and the tokens of --dev. */
#ifndef SERVICE_TOKENS_H
#define SERVICE_TOKENS_H

#include "base/secret.h"
#include "service/store.h"

/* Makes and stores a token of that role; agent NULL for a requestor. text is the caller's. */
NODISCARD int token_create(struct store *store, enum role role, const char *org, const char *agent,
			   struct secret *text, struct error *err);

/* argv[0] is the verb's name; the exit status. */
int token_verb(int argc, char **argv);

#endif
