"""Recordings that an archive has in another form → NWB files. One module an archive, with what it needs beside it."""
