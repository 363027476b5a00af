// The vendor's Java clients, told what to call on standard input: see tests/api/aliyun/drive.rs.
//
// `java -cp … Drive.java core|tea KEY SECRET`; `core` is aliyun-java-sdk-iot, `tea` com.aliyun:iot20180120.

import com.aliyun.tea.TeaException;
import com.aliyun.tea.TeaModel;
import com.aliyun.teaopenapi.models.Config;
import com.aliyuncs.AcsRequest;
import com.aliyuncs.DefaultAcsClient;
import com.aliyuncs.exceptions.ClientException;
import com.aliyuncs.http.ProtocolType;
import com.aliyuncs.profile.DefaultProfile;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

public class Drive {
    /** The client has no way to say what is asked. */
    static class Unfit extends Exception {
        Unfit(String why) {
            super(why);
        }
    }

    interface Caller {
        Object call(String address, String action, Map<String, Object> parameters) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        Caller caller = args[0].equals("core") ? core(args) : tea(args);
        Gson gson = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        // The clients log there.
        System.setOut(System.err);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            JsonObject asked = gson.fromJson(line, JsonObject.class);
            Map<String, Object> told = new LinkedHashMap<>();
            try {
                Map<String, Object> flat = new LinkedHashMap<>();
                asked.getAsJsonObject("parameters").entrySet().forEach(e -> flat.put(e.getKey(), e.getValue().getAsString()));
                told.put("answer", caller.call(asked.get("address").getAsString(), asked.get("action").getAsString(), nested(flat)));
            } catch (Unfit problem) {
                told.put("unfit", problem.getMessage());
            } catch (ClientException problem) {
                told.put("refused", problem.getErrCode());
            } catch (TeaException problem) {
                told.put("refused", problem.getCode());
            }
            out.println(gson.toJson(told));
        }
    }

    static Caller core(String[] args) {
        DefaultAcsClient client = new DefaultAcsClient(DefaultProfile.getProfile("cn-shanghai", args[1], args[2]));
        return (address, action, parameters) -> {
            AcsRequest<?> request = (AcsRequest<?>) made("com.aliyuncs.iot.model.v20180120." + action + "Request");
            request.setSysProtocol(ProtocolType.HTTP);
            request.setSysEndpoint(address);
            fill(request, parameters);
            return shown(client.getAcsResponse(request));
        };
    }

    static Caller tea(String[] args) {
        return (address, action, parameters) -> {
            Config config = new Config().setAccessKeyId(args[1]).setAccessKeySecret(args[2]);
            config.setRegionId("cn-shanghai").setEndpoint(address).setProtocol("HTTP");
            com.aliyun.iot20180120.Client client = new com.aliyun.iot20180120.Client(config);
            TeaModel request = (TeaModel) made("com.aliyun.iot20180120.models." + action + "Request");
            try {
                TeaModel.toModel(parameters, request);
            } catch (RuntimeException problem) {
                throw new Unfit(problem.toString());
            }
            // A number that is none is left out, and a large one becomes another.
            for (String given : parameters.keySet()) {
                Object taken = request.toMap().get(given);
                boolean isOther = !(taken instanceof List) && !String.valueOf(taken).equals(parameters.get(given));
                if (taken == null || isOther) throw new Unfit(given);
            }
            String name = Character.toLowerCase(action.charAt(0)) + action.substring(1);
            try {
                Object response = client.getClass().getMethod(name, request.getClass()).invoke(client, request);
                return TeaModel.toMap(response.getClass().getField("body").get(response));
            } catch (InvocationTargetException problem) {
                throw (Exception) problem.getCause();
            }
        };
    }

    static Object made(String type) throws Exception {
        try {
            return Class.forName(type).getConstructor().newInstance();
        } catch (ClassNotFoundException problem) {
            throw new Unfit(type);
        }
    }

    /** `Tag.1.TagKey` as a list of maps, `DeviceName.1` as a list. */
    static Map<String, Object> nested(Map<String, Object> flat) throws Unfit {
        Map<String, Object> whole = new LinkedHashMap<>();
        Map<String, TreeMap<Integer, Object>> lists = new LinkedHashMap<>();
        for (Map.Entry<String, Object> entry : flat.entrySet()) {
            String[] parts = entry.getKey().split("\\.");
            if (parts.length == 1) {
                whole.put(parts[0], entry.getValue());
                continue;
            }
            TreeMap<Integer, Object> list = lists.computeIfAbsent(parts[0], name -> new TreeMap<>());
            int place = Integer.parseInt(parts[1]);
            if (parts.length == 2) {
                list.put(place, entry.getValue());
            } else {
                @SuppressWarnings("unchecked")
                Map<String, Object> one = (Map<String, Object>) list.computeIfAbsent(place, at -> new LinkedHashMap<>());
                one.put(parts[2], entry.getValue());
            }
        }
        for (Map.Entry<String, TreeMap<Integer, Object>> entry : lists.entrySet()) {
            if (entry.getValue().lastKey() != entry.getValue().size()) {
                throw new Unfit(entry.getKey() + " has gaps");
            }
            whole.put(entry.getKey(), new ArrayList<>(entry.getValue().values()));
        }
        return whole;
    }

    /** Sets what the request can take; lists are called by their plural. */
    static void fill(Object request, Map<String, Object> parameters) throws Exception {
        for (Map.Entry<String, Object> entry : parameters.entrySet()) {
            String name = "set" + entry.getKey();
            boolean isList = entry.getValue() instanceof List;
            Method found = null;
            for (Method method : request.getClass().getMethods()) {
                boolean named = method.getName().equals(isList ? name + "s" : name);
                if (named && method.getParameterCount() == 1) found = method;
            }
            if (found == null) throw new Unfit(request.getClass().getSimpleName() + " has no " + name);
            found.invoke(request, value(entry.getValue(), found.getGenericParameterTypes()[0]));
        }
    }

    static Object value(Object given, Type type) throws Exception {
        if (given instanceof List) {
            Type of = ((ParameterizedType) type).getActualTypeArguments()[0];
            List<Object> list = new ArrayList<>();
            for (Object one : (List<?>) given) list.add(value(one, of));
            return list;
        }
        if (given instanceof Map) {
            Object one = ((Class<?>) type).getConstructor().newInstance();
            @SuppressWarnings("unchecked")
            Map<String, Object> fields = (Map<String, Object>) given;
            fill(one, fields);
            return one;
        }
        try {
            String text = (String) given;
            if (type == Integer.class) return Integer.valueOf(text);
            if (type == Long.class) return Long.valueOf(text);
            if (type == Boolean.class && List.of("true", "false").contains(text)) return Boolean.valueOf(text);
            if (type == String.class) return text;
        } catch (NumberFormatException problem) {
            throw new Unfit(problem.getMessage());
        }
        throw new Unfit(type.toString());
    }

    /** A typed answer as a map, by what its getters say. */
    static Object shown(Object value) throws Exception {
        if (value instanceof List) {
            List<Object> list = new ArrayList<>();
            for (Object one : (List<?>) value) list.add(shown(one));
            return list;
        }
        if (value == null || !value.getClass().getName().startsWith("com.aliyuncs.iot.model.")) return value;
        Map<String, Object> fields = new LinkedHashMap<>();
        for (Method method : value.getClass().getDeclaredMethods()) {
            boolean isGetter = method.getName().startsWith("get") && method.getParameterCount() == 0;
            if (isGetter && Modifier.isPublic(method.getModifiers())) {
                fields.put(method.getName().substring(3), shown(method.invoke(value)));
            }
        }
        return fields;
    }
}
