/** README.txt beside the dump. A test follows its commands word for word. */
export function redisReadme(place: string, version: string): string {
  return `All keys of the Redis server ${place} (version ${version}) at one moment, made by Holdfast.

What is here
  dump.rdb          all databases, with expiry times and functions: the file that the server itself would write
A server of this version or a newer one reads it at its start.

How it is restored by hand
1. Get the file out of the repository:
     restic -r REPOSITORY restore SNAPSHOT --target /some/folder
2. Into a folder of a server that does not run, and has no appendonlydir, which would be read instead:
     cp dump.rdb DATA/dump.rdb
3. Start the server on that folder. With "appendonly yes" in its settings it would begin empty: leave that off, as here.
     redis-server --dir DATA --dbfilename dump.rdb --appendonly no
4. If it is to have an append-only file, turn that on while it runs, and in its settings only then:
     redis-cli CONFIG SET appendonly yes
`;
}
