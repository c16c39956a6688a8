/* cppcheck does not read the system's headers (it cannot parse them all), so it must be told
 * what the macros of theirs that look like statements stand for. */
#define json_object_object_foreach(object, key, value) \
	for (char *key = first(object), *value = first(object); key; key = next(object))
#define HASH_ITER(hh, head, item, following) \
	for ((item) = (head), (following) = next(item); (item); (item) = (following))
