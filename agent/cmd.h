/* The verbs of the command line: one function and one file each. argv[0] is the verb; the
 * result is the exit status: 0, EXIT_FAILURE, EXIT_USAGE or EXIT_CONFIG. Answers go to
 * standard output, everything else to standard error. */
#ifndef AGENT_CMD_H
#define AGENT_CMD_H

#include "agent/settings.h"
#include "base/buf.h"
#include "base/error.h"
#include "crypto/aead.h"

#include <stdbool.h>

enum { EXIT_USAGE = 2 };

int cmd_run(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_keygen(int argc, char **argv);
int cmd_encrypt(int argc, char **argv);
int cmd_decrypt(int argc, char **argv);
int cmd_journal(int argc, char **argv);
int cmd_settings(int argc, char **argv);
int cmd_version(int argc, char **argv);

/* Shared by the verbs (cmd.c). */

/* True when argv asks for help; prints it then. */
bool cmd_wants_help(int argc, char **argv, const char *help, bool with_settings);
/* Loads settings and sets up the log; on problems prints all of them and returns
 * EXIT_CONFIG. The caller releases settings in any case. */
int cmd_load_settings(struct settings *settings, unsigned needs, int *argc, char **argv);
/* "relay-agent VERB: …" on standard error and EXIT_USAGE. */
int cmd_usage_error(const char *verb, const char *format, ...) PRINTF_LIKE(2, 3);
/* "relay-agent: …" on standard error and EXIT_FAILURE. */
int cmd_failed(const struct error *err);
/* At most max_operands words that are no options may be left. */
int cmd_check_operands(int argc, char **argv, int min_operands, int max_operands);
/* Writes bytes to standard output (path NULL or "-") or a file. */
int cmd_write(const char *path, const void *bytes, size_t size, struct error *err);
/* A key's text made ready; NULL with err when it is no key. */
struct aead *cmd_open_key(const struct secret *text, struct error *err);

#endif
