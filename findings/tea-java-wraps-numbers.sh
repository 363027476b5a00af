#!/usr/bin/env bash
# Typed Java clients of Alibaba Cloud are built on com.aliyun:tea. Version 1.2.0 puts a number that does not fit an
# Integer field into it all the same: the low 32 bits, without an error. A count of 4294967295 arrives as -1, and a time
# in milliseconds as another number altogether; as text it is the same, with a warning in the log.
# Seen 2026-11-30 with OpenJDK 17: the output below. What a server sends in such fields has to stay below 2^31, and
# what a client of this kind asks for may not be what its user wrote.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/pom.xml" <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>finding</artifactId><version>1</version><dependencies>
<dependency><groupId>com.aliyun</groupId><artifactId>tea</artifactId><version>1.2.0</version></dependency>
</dependencies></project>
XML
mvn -q -B -f "$work/pom.xml" dependency:copy-dependencies "-DoutputDirectory=$work/jars" >/dev/null

cat >"$work/Shows.java" <<'JAVA'
import com.aliyun.tea.NameInMap;
import com.aliyun.tea.TeaModel;
import java.util.Map;

public class Shows {
    public static class Page extends TeaModel {
        @NameInMap("Total")
        public Integer total;
    }

    public static void main(String[] args) throws Exception {
        for (Object given : new Object[] {2147483647L, 4294967295L, 1700000000000L, "4294967295"}) {
            Page page = TeaModel.toModel(Map.of("Total", given), new Page());
            System.err.println(given.getClass().getSimpleName() + " " + given + " " + page.total);
        }
    }
}
JAVA

cat >"$work/expected" <<'TEXT'
Long 2147483647 2147483647
Long 4294967295 -1
Long 1700000000000 -807049216
String 4294967295 -1
TEXT
java -cp "$work/jars/*" "$work/Shows.java" 2>&1 >/dev/null | grep -E '^(Long|String) ' >"$work/seen"
cat "$work/seen"
diff "$work/expected" "$work/seen"
