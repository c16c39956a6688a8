/* Names of members that come with every message. json-c copies the name of each member, unless it
 * is told that the name stays. */
#ifndef BASE_JSON_KEYS_H
#define BASE_JSON_KEYS_H

#include <stddef.h>

/* The same name, as a string that stays as long as the program runs; NULL: it is not one of them. */
const char *json_key_find(const char *text, size_t size);

#endif
