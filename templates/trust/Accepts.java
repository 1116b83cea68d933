import java.io.FileInputStream;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.List;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

/** Whether Java accepts a certificate for a server of that name: java Accepts.java FILE NAME. Exit code 3 if not. */
class Accepts {
    public static void main(String[] words) throws Exception {
        try (FileInputStream file = new FileInputStream(words[0])) {
            X509Certificate leaf = (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(file);
            TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            factory.init((KeyStore) null); // the store that javax.net.ssl.trustStore names
            X509TrustManager manager = (X509TrustManager) factory.getTrustManagers()[0];
            manager.checkServerTrusted(new X509Certificate[] {leaf}, "ECDHE_ECDSA");
            if (!leaf.getSubjectAlternativeNames().contains(List.of(2, words[1]))) { // 2: a DNS name
                throw new GeneralSecurityException("not for " + words[1] + ": " + leaf.getSubjectAlternativeNames());
            }
        } catch (GeneralSecurityException | RuntimeException rejection) {
            System.err.println(rejection.getMessage());
            System.exit(3);
        }
    }
}
